# Which keys a recipe uses, and whether it may.
#
# A recipe whose keys are not said is left out, with the reason: BitBake then says "Nothing PROVIDES 'margo-bundle' …
# was skipped: <reason>", and every other recipe can still be built.
#
# KEYS_NEEDED  what the recipe needs: keyring, signer or both
# KEYS_TASK    the task that uses them
# Sets BUNDLE_KEYRING_FILE, SIGNER_CERT_FILE and SIGNER_KEY_FILE, paths or PKCS#11 URIs.

KEYS_NEEDED ??= "keyring"
KEYS_TASK ??= "do_install"

DEPENDS:append = " openssl-native"

def margo_keys_wrong(d):
    """The reason why this recipe must not be built, with the next step; nothing if it may."""
    needed = {'keyring': ['MARGO_KEYRING'], 'signer': ['MARGO_BUNDLE_CERT', 'MARGO_BUNDLE_KEY']}
    own = [name for group in needed.values() for name in group if d.getVar(name)]
    if d.getVar('MARGO_DEVELOPMENT_KEYS') == '1':
        if own:
            return ('MARGO_DEVELOPMENT_KEYS = "1" and %s are both set. Next step: remove MARGO_DEVELOPMENT_KEYS for a '
                    'product, or the others to try things out' % ', '.join(own))
        return None
    for name in [name for group in d.getVar('KEYS_NEEDED').split() for name in needed[group]]:
        value = d.getVar(name)
        if not value:
            return ('%s is not set. Next step: give your own keys (meta-margo/README.md, "Keys"), or set '
                    'MARGO_DEVELOPMENT_KEYS = "1" to try things out' % name)
        if value.startswith('pkcs11:') and name != 'MARGO_KEYRING':
            continue
        if not os.path.isabs(value):
            return '%s = "%s" is no absolute path. Next step: write the whole path' % (name, value)
        if not os.path.isfile(value):
            return '%s = "%s" is not there. Next step: correct the path' % (name, value)
    return None

python () {
    reason = margo_keys_wrong(d)
    if reason:
        raise bb.parse.SkipRecipe(reason)
    if d.getVar('MARGO_DEVELOPMENT_KEYS') == '1':
        directory = d.getVar('MARGO_DEVELOPMENT_KEYS_DIR')
        files = [directory + name for name in ('/ca.pem', '/signer.pem', '/signer.key')]
        d.appendVarFlag(d.getVar('KEYS_TASK'), 'depends', ' margo-development-keys:do_keys')
    else:
        files = [d.getVar(name) or '' for name in ('MARGO_KEYRING', 'MARGO_BUNDLE_CERT', 'MARGO_BUNDLE_KEY')]
    for name, value in zip(('BUNDLE_KEYRING_FILE', 'SIGNER_CERT_FILE', 'SIGNER_KEY_FILE'), files):
        d.setVar(name, value)
    # Another keyring is another image. Development keys may not be there yet; who depends on do_keys is built with them.
    if d.getVar('MARGO_DEVELOPMENT_KEYS') != '1':
        d.appendVarFlag(d.getVar('KEYS_TASK'), 'file-checksums', ' %s:True' % files[0])
}

# Subjects of the certificates in a PEM file, one a line.
margo_subjects() {
    openssl crl2pkcs7 -nocrl -certfile "$1" | openssl pkcs7 -print_certs -noout | sed -n 's/^subject=//p'
}

# Development keys lie readable on the machine that made them: whoever has them owns the device.
margo_refuse_development_keys() {
    subjects=$(margo_subjects "$1")
    if [ -z "$subjects" ]; then
        bbfatal "$1 holds no certificate. Next step: give a PEM file"
    fi
    case $subjects in
    *"Margo development"*)
        if [ "${MARGO_DEVELOPMENT_KEYS}" != 1 ]; then
            bbfatal "$1 holds a development certificate. Next step: use your own (meta-margo/README.md, \"Keys\"), or say \
MARGO_DEVELOPMENT_KEYS = \"1\" to try things out"
        fi
        bbwarn "$1: development keys. Whoever can read them owns every device with this image. Never ship it."
        ;;
    esac
}

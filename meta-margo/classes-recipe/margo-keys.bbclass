# Which keys a recipe uses, and whether it may. A recipe whose keys are not said is left out, with the reason: BitBake
# then says "Nothing PROVIDES 'margo-bundle' … was skipped: <reason>", and every other recipe can still be built.
#
# Sets MARGO_KEYRING_FILE, MARGO_CERT_FILE and MARGO_KEY_FILE. MARGO_KEYS_NEEDED says which of them the recipe needs:
# "keyring", "signer" or both.

MARGO_KEYS_NEEDED ??= "keyring"

python () {
    needed = d.getVar('MARGO_KEYS_NEEDED').split()
    development = d.getVar('MARGO_DEVELOPMENT_KEYS') == '1'
    names = {'keyring': ['MARGO_KEYRING'], 'signer': ['MARGO_BUNDLE_CERT', 'MARGO_BUNDLE_KEY']}
    own = [name for group in names.values() for name in group if d.getVar(name)]

    if development:
        if own:
            raise bb.parse.SkipRecipe('MARGO_DEVELOPMENT_KEYS = "1" and %s are both set. Next step: remove '
                'MARGO_DEVELOPMENT_KEYS for a product, or %s to try things out' % (', '.join(own), ', '.join(own)))
        directory = d.getVar('MARGO_DEVELOPMENT_KEYS_DIR')
        d.setVar('MARGO_KEYRING_FILE', directory + '/ca.pem')
        d.setVar('MARGO_CERT_FILE', directory + '/signer.pem')
        d.setVar('MARGO_KEY_FILE', directory + '/signer.key')
        return

    for group in needed:
        for name in names[group]:
            value = d.getVar(name)
            if not value:
                raise bb.parse.SkipRecipe('%s is not set. Next step: give your own keys with %s (meta-margo/README.md, '
                    '"Keys"), or set MARGO_DEVELOPMENT_KEYS = "1" to try things out'
                    % (name, ' and '.join(names[group])))
            if not value.startswith('pkcs11:') and not os.path.isabs(value):
                raise bb.parse.SkipRecipe('%s = "%s" is not an absolute path. Next step: write the whole path, or a '
                    'pkcs11: URI' % (name, value))
            if not value.startswith('pkcs11:') and not os.path.isfile(value):
                raise bb.parse.SkipRecipe('%s = "%s" is not there. Next step: correct the path' % (name, value))
    d.setVar('MARGO_KEYRING_FILE', d.getVar('MARGO_KEYRING'))
    d.setVar('MARGO_CERT_FILE', d.getVar('MARGO_BUNDLE_CERT'))
    d.setVar('MARGO_KEY_FILE', d.getVar('MARGO_BUNDLE_KEY'))
}

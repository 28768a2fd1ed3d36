SUMMARY = "Development keys for bundles, made once"
# Outside of TMPDIR, because a device that trusts them outlives a clean build.
DESCRIPTION = "A certificate authority and a signer in MARGO_DEVELOPMENT_KEYS_DIR, for trying out."
HOMEPAGE = "https://github.com/margo/margo-agent"
BUGTRACKER = "https://github.com/margo/margo-agent/issues"
SECTION = "devel"
LICENSE = "Apache-2.0"
CVE_PRODUCT = "margo-agent"

DEPENDS = "openssl-native"

inherit nopackages

INHIBIT_DEFAULT_DEPS = "1"
# The names, subjects and validity are those of qemu/keys: bundles and images of both can be mixed.
KEY_SUBJECT = "/O=Margo development/OU=never ship this"
# Valid for long, and from a fixed day on: a device with a wrong clock can still be tried out.
KEY_VALIDITY = "-not_before 20240101000000Z -not_after 20740101000000Z"

python () {
    if d.getVar('MARGO_DEVELOPMENT_KEYS') != '1':
        raise bb.parse.SkipRecipe('MARGO_DEVELOPMENT_KEYS is not "1". Next step: set it to try things out, or give your '
                                  'own keys (meta-margo/README.md, "Keys")')
    # Somebody may have removed them. Where they are, nothing is made, and nothing that depends on them is made anew.
    authority = d.getVar('MARGO_DEVELOPMENT_KEYS_DIR') + '/ca.pem'
    bb.parse.mark_dependency(d, authority)
    if not os.path.isfile(authority):
        d.setVarFlag('do_keys', 'nostamp', '1')
}

do_keys() {
    keys="${MARGO_DEVELOPMENT_KEYS_DIR}"
    if [ -f "$keys/ca.pem" ]; then
        bbnote "using the keys in $keys"
        return
    fi
    new="$keys.new"
    rm -rf "$new"
    install -d -m 0700 "$new"
    echo "Development keys: readable by everybody who can read this directory. Never ship them." >"$new/DEVELOPMENT"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc ${KEY_VALIDITY} \
        -subj "${KEY_SUBJECT}/CN=Margo development CA" \
        -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign' \
        -keyout "$new/ca.key" -out "$new/ca.pem"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc \
        -subj "${KEY_SUBJECT}/CN=Margo development signer" -keyout "$new/signer.key" -out "$new/signer.csr"
    printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' \
        'extendedKeyUsage=critical,codeSigning' >"$new/signer.ext"
    openssl x509 -req -in "$new/signer.csr" -CA "$new/ca.pem" -CAkey "$new/ca.key" ${KEY_VALIDITY} \
        -extfile "$new/signer.ext" -out "$new/signer.pem"
    rm "$new/signer.csr" "$new/signer.ext"
    mv "$new" "$keys"
}
addtask keys after do_prepare_recipe_sysroot before do_build
do_keys[lockfiles] = "${TMPDIR}/margo-development-keys.lock"
do_keys[doc] = "Makes development keys unless they are there"

do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"
deltask do_populate_sysroot

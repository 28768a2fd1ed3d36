# For recipes with a directory of this repository as sources. Of such files oe-core takes the youngest for
# SOURCE_DATE_EPOCH, and they are as old as somebody's checkout: two builds of one commit would not be the same.
# Packages take oe-core's fixed time for sources that are no archive.
python do_unpack:append() {
    d.setVar("SOURCE_BASEDIR", d.getVar("UNPACKDIR"))
}

# An image that is a slot of a Margo device. For an image of your own: `inherit core-image margo-image`.

IMAGE_FEATURES += "read-only-rootfs"
IMAGE_FSTYPES = "squashfs"
# GRUB and U-Boot read squashfs with gzip; GRUB does not read zstd there.
EXTRA_IMAGECMD:squashfs = "-comp gzip -Xcompression-level 6 -b 128K -no-exports -no-xattrs -no-progress"

require ${@bb.utils.contains('DISTRO_FEATURES', 'margo', 'recipes-bsp/u-boot/margo-u-boot.inc', '', d)}

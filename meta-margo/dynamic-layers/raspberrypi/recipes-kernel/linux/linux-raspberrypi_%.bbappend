require ${@bb.utils.contains('DISTRO_FEATURES', 'margo', 'recipes-kernel/linux/margo-kernel.inc', '', d)}

require ${@bb.utils.contains('DISTRO_FEATURES', 'margo', 'margo-kernel.inc', '', d)}

# Loads and starts this slot's kernel. Read by boot.cmd from the boot partition, which chose the slot. Travels with the
# slot, so a new firmware can change the kernel's parameters. The same as grub-slot.cfg.
#
# Given: margo_slot, margo_boot, margo_source, margo_part, machine_id, devtype, devnum, and fdt_addr from the board.

part uuid ${devtype} ${devnum}:${margo_part} margo_partuuid
margo_machine_id_arg=
if test -n "${machine_id}"; then margo_machine_id_arg="systemd.machine_id=${machine_id}"; fi

# What the board's firmware wants its kernel to know.
margo_firmware_args=
if test -n "${fdt_addr}"; then
    if fdt addr ${fdt_addr}; then
        if fdt get value margo_fdt_bootargs /chosen bootargs; then margo_firmware_args=${margo_fdt_bootargs}; fi
    fi
fi

# panic, oops: a kernel that cannot go on starts over, so that U-Boot can count.
setenv bootargs "${margo_firmware_args} root=PARTUUID=${margo_partuuid} ro rootfstype=squashfs rootwait @CONSOLE@ panic=10 oops=panic fsck.repair=yes rauc.slot=${margo_slot} margo.boot=${margo_boot} margo.env=${margo_source} ${margo_machine_id_arg} @ARGS@"
if load ${devtype} ${devnum}:${margo_part} ${kernel_addr_r} /boot/vmlinuz; then
    @BOOTCMD@ ${kernel_addr_r} - ${fdt_addr}
fi

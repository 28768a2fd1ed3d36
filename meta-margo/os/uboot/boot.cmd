# Chooses the slot to start: the rules of grub.cfg, for U-Boot. Lives on the boot partition and is never written by an
# update; what belongs to one version of the OS (kernel, command line) is in slot.cmd inside the slot.
#
#   good                    started, nothing is written
#   trial with tries left   one try is taken away and saved, then started; not started if that cannot be saved
#   otherwise               passed over; if nothing else is left, started without counting, the first in ORDER first
#
# The boot environment is U-Boot's own, in two copies with checksums (uboot.cfg): U-Boot reads the newer one that is whole
# and writes the other. Without a readable copy it has its built-in one, which lacks margo_env.
# Names that are not saved are not set with setenv. None of those is ever made empty: U-Boot keeps the old value then.

margo_source=first
margo_valid=no
if test "${margo_env}" = "1"; then
    if test "${ORDER}" = "A B" || test "${ORDER}" = "B A"; then
        margo_valid=yes
    fi
    for margo_s in "${A_STATE}" "${B_STATE}"; do
        if test "${margo_s}" = "good" || test "${margo_s}" = "trial" || test "${margo_s}" = "bad"; then true; else margo_valid=no; fi
    done
    for margo_s in "${A_TRIES}" "${B_TRIES}"; do
        if test "${margo_s}" = "0" || test "${margo_s}" = "1" || test "${margo_s}" = "2" || test "${margo_s}" = "3"; then true; else margo_valid=no; fi
    done
fi
if test "${margo_valid}" != "yes"; then
    # The only thing known is what a device has: two slots, one of which most likely starts.
    margo_source=defaults
    setenv ORDER "A B"
    setenv A_STATE good
    setenv A_TRIES 0
    setenv B_STATE good
    setenv B_TRIES 0
    setenv machine_id
fi
margo_1=A
margo_2=B
if test "${ORDER}" = "B A"; then
    margo_1=B
    margo_2=A
fi

margo_passed=
for margo_round in choose last-resort; do
    for margo_slot in ${margo_1} ${margo_2}; do
        margo_boot=no
        if test "${margo_slot}" = "A"; then
            margo_state=${A_STATE}
            margo_tries=${A_TRIES}
            margo_part=3
        else
            margo_state=${B_STATE}
            margo_tries=${B_TRIES}
            margo_part=4
        fi
        if test "${margo_round}" = "last-resort"; then
            # Better a slot that may fail than a device that does not start.
            margo_boot=last-resort
        elif test "${margo_state}" = "good"; then
            margo_boot=committed
        elif test "${margo_state}" = "trial" && test "${margo_tries}" != "0"; then
            margo_left=0
            if test "${margo_tries}" = "3"; then margo_left=2; fi
            if test "${margo_tries}" = "2"; then margo_left=1; fi
            setenv ${margo_slot}_TRIES ${margo_left}
            # What a slot before this one left behind does not belong into what is saved.
            setenv bootargs
            setenv margo_partuuid
            setenv margo_fdt_bootargs
            # A try that is not counted would be repeated for ever.
            if saveenv; then
                margo_boot=trial
            else
                setenv ${margo_slot}_TRIES ${margo_tries}
                margo_passed="${margo_passed} ${margo_slot}:unsaved"
            fi
        else
            margo_passed="${margo_passed} ${margo_slot}:${margo_state}"
        fi
        if test "${margo_boot}" != "no"; then
            echo "margo-boot: slot=${margo_slot} reason=${margo_boot} env=${margo_source} order=\"${ORDER}\" a=${A_STATE}/${A_TRIES} b=${B_STATE}/${B_TRIES} passed=\"${margo_passed}\""
            if load ${devtype} ${devnum}:${margo_part} ${pxefile_addr_r} /boot/slot.scr; then
                # Comes back if its kernel cannot be loaded.
                source ${pxefile_addr_r}
            fi
            margo_passed="${margo_passed} ${margo_slot}:kernel"
        fi
    done
done

# A wait, so that the message can be read. Starting over may help: a disk can be late.
echo "margo-boot: slot=none reason=no-kernel env=${margo_source} order=\"${ORDER}\" a=${A_STATE}/${A_TRIES} b=${B_STATE}/${B_TRIES} passed=\"${margo_passed}\""
sleep 10
reset

#!/bin/sh
# A check that an OEM's firmware could bring, and that never passes.
echo 'this check fails on purpose' >&2
exit 1

#!/bin/sh
# A check whose failure is told, but does not stop a commit.
echo 'this check fails on purpose' >&2
exit 1

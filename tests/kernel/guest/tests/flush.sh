# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=dash disable=SC2086,SC2154
#
# fpt: at once.

load period_ms=0
touch_and_free
flush
host watched >/dev/null
say "$(count reported) pages reported in $(count reports) reports"

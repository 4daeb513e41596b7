# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# kernel.cmake - tests in a real guest kernel, under QEMU (label kernel)
#
# They skip where QEMU, busybox or the kernel's headers are not installed: kernel/run.sh says what
# is missing. The kernel is downloaded once into the build directory. One guest at a time.

function(fpt_kernel_test name)
	add_test(NAME kernel/${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/kernel/run.sh
		${CMAKE_CURRENT_BINARY_DIR}/kernel ${ARGN})
	set_tests_properties(kernel/${name} PROPERTIES LABELS kernel SKIP_RETURN_CODE 77 TIMEOUT 1500
		RESOURCE_LOCK guest FIXTURES_REQUIRED kernel)
endfunction()

fpt_kernel_test(prepare prepare)
set_tests_properties(kernel/prepare PROPERTIES FIXTURES_REQUIRED "" FIXTURES_SETUP kernel)

fpt_kernel_test(unit/2 unit 2)
fpt_kernel_test(unit/4 unit 4)
fpt_kernel_test(unit/8 unit 8)
# Two of three with the kernel as Debian has it, one preemptible everywhere.
fpt_kernel_test(hint/2 hint 2)
fpt_kernel_test(hint/4 hint 4)
fpt_kernel_test(hint/8 hint 8 preempt=full)
fpt_kernel_test(mutant mutant 4)
fpt_kernel_test(pressure pressure 4)
fpt_kernel_test(host host 2)
fpt_kernel_test(compare compare 4)

# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# kernel.cmake - tests in a real guest kernel, under QEMU (label kernel)
#
# They skip where QEMU, busybox or the kernel's headers are not installed: kernel/run.sh says what
# is missing. The kernel is downloaded once into the build directory. One guest at a time.

function(fpt_kernel_test name)
	add_test(NAME kernel/${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/kernel/run.sh
		${CMAKE_CURRENT_BINARY_DIR}/kernel ${ARGN})
	set_tests_properties(kernel/${name} PROPERTIES LABELS kernel SKIP_RETURN_CODE 77 TIMEOUT 600
		RESOURCE_LOCK guest FIXTURES_REQUIRED kernel)
endfunction()

fpt_kernel_test(prepare prepare)
set_tests_properties(kernel/prepare PROPERTIES FIXTURES_REQUIRED "" FIXTURES_SETUP kernel)

foreach(vcpus 2 4 8)
	fpt_kernel_test(unit/${vcpus} unit ${vcpus})
endforeach()

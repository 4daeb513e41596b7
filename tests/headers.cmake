# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# headers.cmake - every public header compiles alone: with every compiler found, in a kernel module
#
# The scripts find the headers themselves. Only the compilers are looked for here: the one that
# builds the project, gcc, clang, and cross compilers (32-bit words, big-endian).

function(fpt_headers_test language compiler)
	# cc is gcc or clang under another name: once is enough.
	file(REAL_PATH ${compiler} real)
	get_property(known GLOBAL PROPERTY FPT_HEADERS_${language})
	if(real IN_LIST known)
		return()
	endif()
	set_property(GLOBAL APPEND PROPERTY FPT_HEADERS_${language} ${real})
	get_filename_component(name ${compiler} NAME)
	add_test(NAME headers/${name}/${language}
		COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/headers/check.sh
			${PROJECT_SOURCE_DIR}/include ${language} ${compiler} ${ARGN})
	set_tests_properties(headers/${name}/${language} PROPERTIES LABELS headers)
endfunction()

foreach(candidate gcc clang clang-14
	aarch64-linux-gnu-gcc riscv64-linux-gnu-gcc s390x-linux-gnu-gcc i686-linux-gnu-gcc)
	find_program(FPT_HEADERS_${candidate} ${candidate})
	if(FPT_HEADERS_${candidate})
		fpt_headers_test(c11 ${FPT_HEADERS_${candidate}})
	endif()
endforeach()
foreach(candidate g++ clang++ clang++-14)
	find_program(FPT_HEADERS_${candidate} ${candidate})
	if(FPT_HEADERS_${candidate})
		fpt_headers_test(c++17 ${FPT_HEADERS_${candidate}})
	endif()
endforeach()
fpt_headers_test(c11 ${CMAKE_C_COMPILER})
fpt_headers_test(c++17 ${CMAKE_CXX_COMPILER})

# Skips where no kernel headers are installed (Debian: linux-headers-amd64).
add_test(NAME headers/kernel-module
	COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/kmod/check.sh ${PROJECT_SOURCE_DIR}/include)
set_tests_properties(headers/kernel-module PROPERTIES LABELS headers SKIP_RETURN_CODE 77)

# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# trackers.cmake - the trackers against their model, under every schedule, and under real threads
#
# One source makes several tests: with other sizes of chunks, with each backend, with the tracker
# chosen at compile time. The target `mutants` plants mistakes that these tests must find (five minutes).
# With FPT_COVERAGE, the target `coverage` runs the fast ones and says what of the headers they reach.

function(fpt_tracker_test name source)
	string(REPLACE / - target test_${name})
	add_executable(${target} ${source})
	target_compile_definitions(${target} PRIVATE _GNU_SOURCE ${ARGN})
	# The headers' own assertions are part of the test. Exploring wants optimization.
	target_compile_options(${target} PRIVATE -UNDEBUG $<$<CONFIG:Debug>:-O1>)
	target_link_libraries(${target} PRIVATE fpt fpt-options PkgConfig::CMOCKA Threads::Threads)
	add_test(NAME ${name} COMMAND ${target})
	set_tests_properties(${name} PROPERTIES LABELS trackers TIMEOUT 1500)
	set_property(GLOBAL APPEND PROPERTY FPT_TRACKER_TESTS ${target})
	# Elsewhere gcov's counters are cheaper without.
	file(STRINGS ${source} threads REGEX pthread_create)
	if(FPT_COVERAGE AND threads)
		target_compile_options(${target} PRIVATE -fprofile-update=atomic)
	endif()
endfunction()

# The bitmap's own: as it is, and so small that few pages reach its directory's upper levels.
set(small FPT_XBITMAP_CHUNK_BYTES=8 FPT_BITMAP_LEAF_BYTES=64 FPT_BITMAP_GRAIN_BYTES=8 FPT_BITMAP_ENTRIES=2u)
fpt_tracker_test(bitmap/virtual test_bitmap.c FPT_VIRTUAL_CPUS)
fpt_tracker_test(bitmap/small test_bitmap.c FPT_VIRTUAL_CPUS FPT_BITMAP_MAX_LEVELS=9u ${small})
fpt_tracker_test(bitmap/threads test_bitmap.c ${small})

fpt_tracker_test(array2019/virtual test_array2019.c FPT_VIRTUAL_CPUS)
fpt_tracker_test(array2019/threads test_array2019.c)

fpt_tracker_test(threads/user test_threads.c FPT_XBITMAP_CHUNK_BYTES=8)
fpt_tracker_test(threads/virtual test_threads.c FPT_VIRTUAL_CPUS FPT_XBITMAP_CHUNK_BYTES=8)

# Once more, where the C library is told not to register restartable sequences.
function(fpt_without_rseq name test)
	string(REPLACE / - target test_${test})
	add_test(NAME ${name} COMMAND ${target})
	set_tests_properties(${name} PROPERTIES LABELS trackers TIMEOUT 1500
		ENVIRONMENT GLIBC_TUNABLES=glibc.pthread.rseq=0)
endfunction()

fpt_tracker_test(percpu test_percpu.c)
fpt_without_rseq(percpu/no-rseq percpu)

fpt_without_rseq(threads/no-rseq threads/user)
fpt_tracker_test(delta/user test_delta.c FPT_XBITMAP_CHUNK_BYTES=64)
# Without grace periods, and with liburcu's: those are for real threads, but ThreadSanitizer knows
# nothing of Debian's liburcu.
foreach(test switch hotplug)
	fpt_tracker_test(${test}/virtual test_${test}.c FPT_VIRTUAL_CPUS FPT_XBITMAP_CHUNK_BYTES=8)
	if(NOT FPT_SANITIZE MATCHES thread)
		fpt_tracker_test(${test}/rcu test_${test}.c
			FPT_VIRTUAL_CPUS FPT_XBITMAP_CHUNK_BYTES=8 FPT_RCU)
		target_link_libraries(test_${test}-rcu PRIVATE PkgConfig::URCU)
	endif()
endforeach()

# The others have one thread of the operating system: nothing for ThreadSanitizer.
if(NOT FPT_SANITIZE MATCHES thread)
	foreach(bytes 8 64 4096)
		foreach(backend FPT_VIRTUAL_CPUS FPT_MODEL)
			fpt_tracker_test(trackers/${backend}/${bytes} test_trackers.c
				${backend} FPT_XBITMAP_CHUNK_BYTES=${bytes})
		endforeach()
	endforeach()
	fpt_tracker_test(trackers/user test_trackers.c FPT_XBITMAP_CHUNK_BYTES=64)
	foreach(tracker xbitmap array bitmap)
		fpt_tracker_test(trackers/static/${tracker} test_trackers.c
			FPT_VIRTUAL_CPUS FPT_XBITMAP_CHUNK_BYTES=64 FPT_TRACKER=${tracker})
	endforeach()
	foreach(backend FPT_VIRTUAL_CPUS FPT_MODEL)
		fpt_tracker_test(report/${backend} test_report.c ${backend})
	endforeach()
	fpt_tracker_test(report/user test_report.c)
	# As on a C library or a kernel without restartable sequences.
	fpt_without_rseq(report/no-rseq report/user)
	fpt_tracker_test(report/small test_report.c FPT_VIRTUAL_CPUS FPT_XBITMAP_CHUNK_BYTES=8)
	foreach(tracker array bitmap lockmap xbitmap)
		fpt_tracker_test(report/static/${tracker} test_report.c
			FPT_VIRTUAL_CPUS FPT_TRACKER=${tracker})
	endforeach()
	foreach(bytes 8 4096)
		fpt_tracker_test(ticket/model/${bytes} test_ticket.c FPT_MODEL FPT_XBITMAP_CHUNK_BYTES=${bytes})
	endforeach()
	fpt_tracker_test(ticket/virtual test_ticket.c FPT_VIRTUAL_CPUS FPT_XBITMAP_CHUNK_BYTES=8)
	fpt_tracker_test(ticket/user test_ticket.c FPT_XBITMAP_CHUNK_BYTES=64)
	fpt_tracker_test(explore test_explore.c FPT_MODEL)
	fpt_tracker_test(bitmap/model test_bitmap.c FPT_MODEL)
	fpt_tracker_test(lines test_lines.c FPT_MODEL)
	foreach(test switch hotplug)
		fpt_tracker_test(${test}/model test_${test}.c FPT_MODEL FPT_XBITMAP_CHUNK_BYTES=8)
		fpt_tracker_test(${test}/model/no-rcu test_${test}.c
			FPT_MODEL FPT_MODEL_NO_RCU FPT_XBITMAP_CHUNK_BYTES=8)
		list(APPEND explored ${test}/model ${test}/model/no-rcu)
	endforeach()
	fpt_tracker_test(array2019/model test_array2019.c FPT_MODEL)
	fpt_tracker_test(array2019/static test_array2019.c FPT_VIRTUAL_CPUS FPT_TRACKER=array2019)
	fpt_tracker_test(delta/model test_delta.c FPT_MODEL)
	fpt_tracker_test(delta/virtual test_delta.c FPT_VIRTUAL_CPUS)
	fpt_without_rseq(delta/no-rseq delta/user)
	if(FPT_SANITIZE)
		set_tests_properties(explore bitmap/model delta/model ${explored} PROPERTIES
			ENVIRONMENT FPT_TEST_BOUND=-1)
	endif()
else()
	# Of this one, the threads.
	set_tests_properties(delta/user PROPERTIES ENVIRONMENT FPT_TEST_SEEDS=0)
endif()

find_program(FPT_OBJDUMP objdump)
if(FPT_OBJDUMP)
	add_test(NAME dispatch COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/dispatch.sh
		${CMAKE_C_COMPILER} ${PROJECT_SOURCE_DIR}/include)
	set_tests_properties(dispatch PROPERTIES LABELS trackers)
endif()

add_custom_target(mutants USES_TERMINAL COMMAND ${CMAKE_COMMAND} -E env CC=${CMAKE_C_COMPILER}
	${CMAKE_CURRENT_SOURCE_DIR}/mutants/run.sh)

if(FPT_COVERAGE)
	get_property(tests GLOBAL PROPERTY FPT_TRACKER_TESTS)
	add_custom_target(coverage USES_TERMINAL
		COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/coverage.sh ${PROJECT_BINARY_DIR})
	add_dependencies(coverage ${tests})
endif()

# `cmake --build DIR --target check`: what reads the sources (tests/lint/run, the analysers), then the unit tests. The first run
# of the analysers takes minutes; later ones look only at what changed.
add_custom_target(check
	COMMAND ${CMAKE_SOURCE_DIR}/tests/lint/run ${CMAKE_BINARY_DIR}
	COMMAND ${CMAKE_SOURCE_DIR}/tests/lint/analyse ${CMAKE_BINARY_DIR}
	COMMAND ${CMAKE_COMMAND} --build ${CMAKE_BINARY_DIR}
	COMMAND ${CMAKE_CTEST_COMMAND} --test-dir ${CMAKE_BINARY_DIR} -L unit --output-on-failure --no-tests=error
	WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} USES_TERMINAL)

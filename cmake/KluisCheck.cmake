# `cmake --build DIR --target check`: everything that reads the sources rather than runs them.
add_custom_target(check
	COMMAND ${CMAKE_SOURCE_DIR}/tests/lint/run ${CMAKE_BINARY_DIR}
	WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} USES_TERMINAL)

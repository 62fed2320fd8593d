# Libraries, all from Debian packages (deploy/install-deps).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
set(install_hint "run deploy/install-deps")

macro(kluis_pkg name module)
	pkg_check_modules(${name} IMPORTED_TARGET ${module})
	if(NOT ${name}_FOUND)
		message(FATAL_ERROR "${module} not found: ${install_hint}")
	endif()
endmacro()

kluis_pkg(UV libuv)
kluis_pkg(CRYPTO libcrypto)
kluis_pkg(SSL libssl)
kluis_pkg(ZLIB zlib)
kluis_pkg(RAFT raft)
kluis_pkg(ROCKSDB rocksdb)
kluis_pkg(SSH2 libssh2)
kluis_pkg(NGHTTP2 libnghttp2)
kluis_pkg(JANSSON jansson)
kluis_pkg(INIH inih)
kluis_pkg(SYSTEMD libsystemd)
find_library(HTTP_PARSER_LIBRARY http_parser)
if(NOT HTTP_PARSER_LIBRARY)
	message(FATAL_ERROR "http_parser not found: ${install_hint}")
endif()

find_library(UNISTRING_LIBRARY unistring)
if(NOT UNISTRING_LIBRARY)
	message(FATAL_ERROR "libunistring not found: ${install_hint}")
endif()

# 0.15.0 loses committed entries and later versions changed who owns what: docs/architecture.md.
set(RAFT_WANTED 0.22.1)
if(NOT RAFT_VERSION VERSION_EQUAL RAFT_WANTED)
	message(FATAL_ERROR "libraft ${RAFT_VERSION} found, but Kluis needs exactly ${RAFT_WANTED} "
		"(older ones lose committed entries): ${install_hint}, which takes it from bookworm-backports")
endif()

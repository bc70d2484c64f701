# What `cmake --install` puts where: library, headers, CMake package and pkg-config file (both relocatable), the
# program with its manual page and completions, and the default model with its card.
include(CMakePackageConfigHelpers)

install(TARGETS halyard EXPORT halyard-targets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY include/halyard DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/halyard)
install(EXPORT halyard-targets NAMESPACE halyard:: DESTINATION ${package_dir})
configure_package_config_file(cmake/halyard-config.cmake.in ${CMAKE_BINARY_DIR}/halyard-config.cmake
    INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
# Before 1.0 every minor version may change the interface.
write_basic_package_version_file(${CMAKE_BINARY_DIR}/halyard-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/halyard-config.cmake ${CMAKE_BINARY_DIR}/halyard-config-version.cmake
    DESTINATION ${package_dir})

# Where the folders are, seen from the .pc file, so that the installed tree can be moved.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
    set(pc_libdir "${CMAKE_INSTALL_LIBDIR}")
else()
    file(RELATIVE_PATH pc_up "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
    string(REGEX REPLACE "/$" "" pc_up "${pc_up}")
    set(pc_prefix "\${pcfiledir}/${pc_up}")
    set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
endif()
if(IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
    set(pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
else()
    set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
# Who links a static library links what it needs too, whether or not pkg-config was told --static.
set(pc_libs "")
set(pc_libs_private "-lm -pthread")
foreach(lib ${CMAKE_DL_LIBS})
    string(APPEND pc_libs_private " -l${lib}")
endforeach()
if(NOT BUILD_SHARED_LIBS)
    set(pc_libs " ${pc_libs_private}")
    set(pc_libs_private "")
endif()
configure_file(cmake/halyard.pc.in ${CMAKE_BINARY_DIR}/halyard.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/halyard.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

if(TARGET halyard-cli)
    install(TARGETS halyard-cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    install(FILES ${CMAKE_BINARY_DIR}/halyard.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
    install(FILES ${CMAKE_BINARY_DIR}/completions/halyard
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES ${CMAKE_BINARY_DIR}/completions/_halyard
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
    install(FILES ${CMAKE_BINARY_DIR}/completions/halyard.fish
        DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()

install(FILES models/halyard-tiny-rwkv7-Q4_K_M.gguf DESTINATION ${CMAKE_INSTALL_DATADIR}/halyard)
install(FILES models/README.md DESTINATION ${CMAKE_INSTALL_DATADIR}/halyard
    RENAME halyard-tiny-rwkv7.md)

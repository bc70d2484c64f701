# halyard_embed(TARGET FILE): makes NAME.inc of the file NAME, its bytes as a list of numbers that
# ends with a zero, and lets the sources of TARGET in this folder include it: `static const char
# code[] = {` `#include "NAME.inc"` `};`.  (A string would do for short files only: C promises no
# more than 4095 characters of one.)
#
# Run as a script, with FROM and TO, this file makes the list.
if(CMAKE_SCRIPT_MODE_FILE)
    file(READ "${FROM}" bytes HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
    string(REPEAT "0x..," 16 row)
    string(REGEX REPLACE "(${row})" "\\1\n" bytes "${bytes}")
    get_filename_component(name "${FROM}" NAME)
    file(WRITE "${TO}" "/* The bytes of ${name}, and a zero. */\n${bytes}0\n")
    return()
endif()

set(halyard_embed_script ${CMAKE_CURRENT_LIST_FILE})

function(halyard_embed target file)
    set(from ${CMAKE_CURRENT_SOURCE_DIR}/${file})
    set(to ${CMAKE_CURRENT_BINARY_DIR}/${file}.inc)
    add_custom_command(OUTPUT ${to}
        COMMAND ${CMAKE_COMMAND} -D FROM=${from} -D TO=${to} -P ${halyard_embed_script}
        DEPENDS ${from} ${halyard_embed_script} VERBATIM)
    # Rules are seen in their own folder only, and the target may be of another one.
    add_custom_target(${target}-${file} DEPENDS ${to})
    add_dependencies(${target} ${target}-${file})
    target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
endfunction()

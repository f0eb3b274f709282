# Fails when an object file that is compiled for one instruction set defines a symbol that the
# linker may merge with another file's: weak (W, V), unique (u), or any global but its tables.
#
# Run by ctest with -DNM=<nm> -DOBJECT=<file>.
execute_process(COMMAND ${NM} --defined-only --demangle ${OBJECT}
  OUTPUT_VARIABLE listing RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${NM} ${OBJECT} failed: ${status}")
endif()

string(REPLACE ";" "," listing "${listing}")
string(REPLACE "\n" ";" lines "${listing}")
set(tables 0)
foreach(line IN LISTS lines)
  if(NOT line MATCHES "^[0-9a-f]+ ([A-Za-z]) (.*)$")
    continue()
  endif()
  set(kind ${CMAKE_MATCH_1})
  set(name "${CMAKE_MATCH_2}")
  if(name MATCHES "^nacelle::kernels::cpu::kA(vx|mx)[0-9A-Za-z]+$")
    math(EXPR tables "${tables} + 1")
  elseif(name MATCHES "^(__odr_asan[._]|DW\\.ref\\.)")
    continue()  # a sanitizer's own mark, no code
  elseif(kind MATCHES "[A-Zuvw]")
    message(SEND_ERROR "${OBJECT} shares '${name}' (nm: ${kind}) with the rest of the program: a "
      "machine without this instruction set may run it. Use no standard library there, and keep "
      "functions in an unnamed namespace or templates over the vector type.")
  endif()
endforeach()
if(tables EQUAL 0)
  message(FATAL_ERROR "${OBJECT} defines no table of kernels: is it the right file?")
endif()

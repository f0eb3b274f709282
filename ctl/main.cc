// nacellectl: a thin client of the control API. Everything it does is in run.h.
#include <cstdio>
#include <cstdlib>

#include "ctl/run.h"

int main(int argc, char** argv) {
  const nacelle::ctl::Ran ran =
      nacelle::ctl::run(argc, argv, std::getenv("NACELLE_CONTROL_SOCKET"));
  std::fputs(ran.err.c_str(), stderr);
  // A full disk or a closed pipe must not look like success to a script.
  const bool printed = std::fputs(ran.out.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  return printed ? ran.exit : nacelle::ctl::kRefused;
}

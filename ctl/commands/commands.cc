// THE LIST of commands. A new one is a file beside this one, and its name twice here.
#include "ctl/command.h"

namespace nacelle::ctl {

extern const Command kStatus, kModels, kTop, kMetrics, kTrace, kConfigExplain, kQuantize, kGate;

std::span<const Command* const> all_commands() {
  static constexpr const Command* kAll[] = {&kStatus, &kModels,        &kTop,      &kMetrics,
                                            &kTrace,  &kConfigExplain, &kQuantize, &kGate};
  return kAll;
}

}  // namespace nacelle::ctl

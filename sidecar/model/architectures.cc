// THE LIST of architectures. To add one: docs/adding/architecture.md.
#include "sidecar/model/architectures.h"

#include <array>

namespace nacelle::model {

std::span<const Architecture> all_architectures() {
  static const std::array kArchitectures = {
      kBert, kCamembert, kDistilBert, kElectra, kModernBert, kMpnet, kRoberta, kXlmRoberta,
  };
  return kArchitectures;
}

}  // namespace nacelle::model

// See quantization.h.
#include "sidecar/model/quantization.h"

#include <string>

namespace nacelle::model {
namespace {

using files::Json;

// Whether `tensor` is said to be of 8-bit symmetric integers with such scales.
bool is_int8(const Json& group, const char* tensor, const char* strategy, bool dynamic) {
  const auto found = group.find(tensor);
  if (found == group.end() || !found->is_object()) return false;
  return found->value("num_bits", Json()) == 8 && found->value("type", Json()) == "int" &&
         found->value("symmetric", Json(true)) == true &&
         found->value("strategy", Json()) == strategy &&
         found->value("dynamic", Json(false)) == dynamic;
}

bool is_known(const Json& config) {
  if (!config.is_object() || config.value("quant_method", Json()) != "compressed-tensors" ||
      config.value("format", Json()) != "int-quantized") {
    return false;
  }
  const Json groups = config.value("config_groups", Json());
  if (!groups.is_object() || groups.empty()) return false;
  for (const Json& group : groups) {
    if (!group.is_object() || !is_int8(group, "weights", "channel", false) ||
        !is_int8(group, "input_activations", "token", true)) {
      return false;
    }
  }
  return true;
}

}  // namespace

void require_known_quantization(Fields& fields) {
  const Json* config = fields.find("quantization_config");
  if (config == nullptr || is_known(*config)) return;
  fields.refuse(
      "quantization_config",
      "is of a kind that is not supported: int8 weights with a scale a channel and "
      "activations with a scale a token (compressed-tensors, int-quantized) are; use those, "
      "or the original");
}

}  // namespace nacelle::model

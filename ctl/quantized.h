// What the commands about quantized models share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ctl/output.h"
#include "sidecar/base/result.h"
#include "sidecar/quantize/convert.h"
#include "sidecar/quantize/report.h"

namespace nacelle::ctl {

// The lines of a file, without empty ones; kInvalid when there are none or one is not UTF-8.
base::Result<std::vector<std::string>> read_inputs(const std::string& path);

void show(const quantize::Report& report, const std::vector<quantize::Layer>& kept, Output& out);

// kDenied with the reasons when the verdict is refuse.
base::Status verdict_status(const quantize::Report& report);

// Inputs of those that rank the layers.
inline constexpr std::size_t kSensitivityInputs = 64;

}  // namespace nacelle::ctl

// Fuzzes the reader of JSON. What it accepts, an ordinary reader accepts, too, and both mean the
// same by it; what is written again is read again.
#include <string>
#include <string_view>

#include "sidecar/base/check.h"
#include "sidecar/files/json.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nacelle;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = files::parse_json(text, "fuzz");
  if (!parsed) {
    for (const char c : parsed.error().message) CHECK(c >= 0x20 || c < 0);
    return 0;
  }
  CHECK(*parsed == files::Json::parse(text));
  const auto again = files::parse_json(parsed->dump(), "fuzz");
  CHECK(again && *again == *parsed);
  static_cast<void>(files::in_quotes(text));
  return 0;
}

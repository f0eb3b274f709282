#include "sidecar/files/safetensors.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "sidecar/base/bytes.h"
#include "sidecar/files/json.h"

namespace nacelle::files {
namespace {

constexpr std::size_t kLengthSize = 8;  // the header's length, before the header

// The types of the format, with their size in bits.
struct Dtype {
  std::string_view name;
  std::uint64_t bits;
};
constexpr std::array kDtypes = {
    Dtype{"BOOL", 8},    Dtype{"U8", 8},      Dtype{"I8", 8},      Dtype{"U16", 16},
    Dtype{"I16", 16},    Dtype{"F16", 16},    Dtype{"BF16", 16},   Dtype{"U32", 32},
    Dtype{"I32", 32},    Dtype{"F32", 32},    Dtype{"U64", 64},    Dtype{"I64", 64},
    Dtype{"F64", 64},    Dtype{"C64", 64},    Dtype{"F8_E4M3", 8}, Dtype{"F8_E5M2", 8},
    Dtype{"F8_E8M0", 8}, Dtype{"F6_E2M3", 6}, Dtype{"F6_E3M2", 6}, Dtype{"F4", 4},
};

}  // namespace

std::optional<std::uint64_t> dtype_bits(std::string_view dtype) {
  for (const Dtype& known : kDtypes) {
    if (known.name == dtype) return known.bits;
  }
  return std::nullopt;
}

namespace {

// One tensor's place as the header tells it, relative to the start of the data.
struct Extent {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

// Reads one header; knows the file's name and sizes for its messages.
class HeaderReader {
 public:
  HeaderReader(const base::MappedFile& file, std::uint64_t data_start)
      : file_(file), data_start_(data_start), data_size_(file.bytes().size() - data_start) {}

  // The tensors of `header`, each checked by itself; holes and overlaps are seen by `check_cover`.
  base::Status read(const Json& header, std::map<std::string, TensorView, std::less<>>& out) {
    if (header.size() > Safetensors::kTensorsMax) {
      return base::Error{base::Code::kTooLarge,
                         file_.path() + ": the header names " + std::to_string(header.size()) +
                             " tensors; the limit is " + std::to_string(Safetensors::kTensorsMax)};
    }
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") {
        const base::Status status = check_metadata(entry);
        if (!status) return status;
        continue;
      }
      auto view = read_tensor(name, entry);
      if (!view) return view.error();
      out.emplace(name, std::move(*view));
    }
    return check_cover(out);
  }

 private:
  [[nodiscard]] base::Error error(std::string_view tensor, const std::string& problem) const {
    return base::Error{base::Code::kInvalid,
                       file_.path() + ": tensor " + in_quotes(tensor) + ": " + problem};
  }

  [[nodiscard]] base::Error truncated(std::string_view tensor, std::uint64_t end) const {
    return error(tensor, "its data ends at byte " + file_offset_text(end) + " but the file has " +
                             std::to_string(file_.bytes().size()) +
                             " bytes: the file is truncated: download it again");
  }

  // Header offsets may be near 2^64, so the sum is only told where it exists.
  [[nodiscard]] std::string file_offset_text(std::uint64_t offset) const {
    const auto sum = base::checked_add(data_start_, offset);
    return sum ? std::to_string(*sum) : "data+" + std::to_string(offset);
  }

  [[nodiscard]] base::Status check_metadata(const Json& entry) const {
    const base::Error bad{base::Code::kInvalid,
                          file_.path() + ": __metadata__ must map strings to strings"};
    if (!entry.is_object()) return bad;
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) return bad;
    }
    return base::ok();
  }

  [[nodiscard]] base::Result<TensorView> read_tensor(const std::string& name,
                                                     const Json& entry) const {
    if (!entry.is_object()) return error(name, "its header entry is not an object");
    for (const auto& [key, value] : entry.items()) {
      if (key != "dtype" && key != "shape" && key != "data_offsets") {
        return error(name, "unknown field " + in_quotes(key) +
                               "; the format has dtype, shape and data_offsets");
      }
    }
    TensorView view;
    const auto bits = read_dtype(name, entry, view.dtype);
    if (!bits) return bits.error();
    const auto size = read_shape(name, entry, *bits, view.shape);
    if (!size) return size.error();
    const auto extent = read_extent(name, entry);
    if (!extent) return extent.error();

    if (extent->end - extent->begin != *size) {
      return error(name, "its extent at byte " + file_offset_text(extent->begin) + " has " +
                             std::to_string(extent->end - extent->begin) +
                             " bytes, but its shape and dtype need " + std::to_string(*size) +
                             ": the file is damaged: download it again");
    }
    view.file_offset = data_start_ + extent->begin;
    view.bytes = file_.bytes().subspan(view.file_offset, *size);
    return view;
  }

  // Bits per element.
  [[nodiscard]] base::Result<std::uint64_t> read_dtype(const std::string& name, const Json& entry,
                                                       std::string& out) const {
    const auto found = entry.find("dtype");
    if (found == entry.end() || !found->is_string()) {
      return error(name, "dtype is missing or not a string");
    }
    out = found->get_ref<const std::string&>();
    for (const Dtype& dtype : kDtypes) {
      if (dtype.name == out) return dtype.bits;
    }
    std::string known;
    for (const Dtype& dtype : kDtypes)
      known += (known.empty() ? "" : " ") + std::string(dtype.name);
    return error(name, "dtype " + in_quotes(out) + " is not known; known: " + known);
  }

  // Bytes of the whole tensor.
  [[nodiscard]] base::Result<std::uint64_t> read_shape(const std::string& name, const Json& entry,
                                                       std::uint64_t bits,
                                                       std::vector<std::uint64_t>& out) const {
    const auto found = entry.find("shape");
    if (found == entry.end() || !found->is_array()) {
      return error(name, "shape is missing or not a list");
    }
    if (found->size() > Safetensors::kDimensionsMax) {
      return error(name, "shape has " + std::to_string(found->size()) +
                             " dimensions; the limit is " +
                             std::to_string(Safetensors::kDimensionsMax));
    }
    std::optional<std::uint64_t> total = bits;
    for (const Json& dimension : *found) {
      if (!dimension.is_number_unsigned()) {
        return error(name, "shape holds something that is not a whole number from 0 to 2^64-1");
      }
      out.push_back(dimension.get<std::uint64_t>());
      total = base::checked_mul(*total, out.back());
      if (!total) return error(name, "shape x dtype is more than 2^64 bits");
    }
    if (*total % 8 != 0) return error(name, "shape x dtype is not a whole number of bytes");
    return *total / 8;
  }

  [[nodiscard]] base::Result<Extent> read_extent(const std::string& name, const Json& entry) const {
    const auto found = entry.find("data_offsets");
    if (found == entry.end() || !found->is_array() || found->size() != 2 ||
        !(*found)[0].is_number_unsigned() || !(*found)[1].is_number_unsigned()) {
      return error(name, "data_offsets is not a list of two whole numbers from 0 to 2^64-1");
    }
    const Extent extent{(*found)[0].get<std::uint64_t>(), (*found)[1].get<std::uint64_t>()};
    if (extent.begin > extent.end) {
      return error(name, "data_offsets end before they begin: " + std::to_string(extent.begin) +
                             " > " + std::to_string(extent.end));
    }
    if (extent.end > data_size_) return truncated(name, extent.end);
    return extent;
  }

  // The extents, in order, must tile the data from its first byte to its last.
  [[nodiscard]] base::Status check_cover(
      const std::map<std::string, TensorView, std::less<>>& tensors) const {
    using Entry = std::map<std::string, TensorView, std::less<>>::value_type;
    std::vector<const Entry*> order;
    order.reserve(tensors.size());
    for (const Entry& entry : tensors) order.push_back(&entry);
    // Empty tensors first among those that begin together, so that they count as inside.
    std::sort(order.begin(), order.end(), [](const Entry* a, const Entry* b) {
      return std::pair(a->second.file_offset, a->second.bytes.size()) <
             std::pair(b->second.file_offset, b->second.bytes.size());
    });
    std::uint64_t covered = data_start_;
    for (const Entry* entry : order) {
      const auto& [name, view] = *entry;
      if (view.file_offset != covered) {
        const bool overlap = view.file_offset < covered;
        return error(name, "its data begins at byte " + std::to_string(view.file_offset) + ", " +
                               (overlap ? "inside" : "after a hole behind") +
                               " the data before it, which ends at byte " +
                               std::to_string(covered) +
                               ": the file is damaged: download it again");
      }
      covered += view.bytes.size();
    }
    if (covered != file_.bytes().size()) {
      return base::Error{base::Code::kInvalid,
                         file_.path() + ": " + std::to_string(file_.bytes().size() - covered) +
                             " bytes follow the last tensor, from byte " + std::to_string(covered) +
                             ": the file is damaged: download it again"};
    }
    return base::ok();
  }

  const base::MappedFile& file_;
  std::uint64_t data_start_;  // bytes from the start of the file
  std::uint64_t data_size_;   // bytes from there to its end
};

}  // namespace

base::Result<Safetensors> Safetensors::open(const std::string& path) {
  auto file = base::MappedFile::open(path);
  if (!file) return file.error();
  Safetensors result;
  result.file_ = std::move(*file);
  const std::span<const std::byte> bytes = result.file_.bytes();

  if (bytes.size() < kLengthSize) {
    return base::Error{base::Code::kInvalid,
                       path + ": byte 0: " + std::to_string(bytes.size()) +
                           " bytes are too few for a safetensors file: the file is truncated: "
                           "download it again"};
  }
  std::uint64_t header_size = 0;
  for (std::size_t i = 0; i < kLengthSize; ++i) {
    header_size |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  }
  if (header_size > kHeaderMax) {
    return base::Error{base::Code::kTooLarge,
                       path + ": byte 0: a header of " + std::to_string(header_size) +
                           " bytes is over the limit of " + std::to_string(kHeaderMax) +
                           ": this is no safetensors file, or it is damaged"};
  }
  if (!base::fits(kLengthSize, header_size, bytes.size())) {
    return base::Error{base::Code::kInvalid,
                       path + ": byte 8: the header has " + std::to_string(header_size) +
                           " bytes but the file ends at byte " + std::to_string(bytes.size()) +
                           ": the file is truncated: download it again"};
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthSize,
                              header_size);
  if (!text.starts_with('{')) {
    return base::Error{base::Code::kInvalid,
                       path +
                           ": byte 8: the header does not start with '{': this is no "
                           "safetensors file, or it is damaged"};
  }
  const auto header = parse_json(text, path + ": header (from byte 8)");
  if (!header) return header.error();

  HeaderReader reader(result.file_, kLengthSize + header_size);
  const base::Status status = reader.read(*header, result.tensors_);
  if (!status) return status.error();
  return result;
}

const TensorView* Safetensors::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

}  // namespace nacelle::files

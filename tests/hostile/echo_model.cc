#include "tests/hostile/echo_model.h"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "sidecar/base/check.h"
#include "sidecar/base/utf8.h"
#include "sidecar/model/model.h"

namespace nacelle::testing {
namespace {

std::mutex hold_mutex;
std::condition_variable hold_over;
int holds = 0;

// FNV-1a over the tokens, spread over the row.
void echo(std::span<const std::uint32_t> ids, std::span<float> row) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::uint32_t id : ids) hash = (hash ^ id) * 0x100000001b3;
  for (float& value : row) {
    hash = (hash ^ (hash >> 29)) * 0xbf58476d1ce4e5b9;
    value = static_cast<float>(hash >> 48);
  }
}

// Every byte is a token, after a 0 that begins the text.
class Bytes final : public tokenizer::Tokenizer {
 public:
  [[nodiscard]] base::Result<tokenizer::Encoding> encode(std::string_view text,
                                                         std::size_t tokens_max) const override {
    if (base::find_invalid_utf8(text)) return base::Error{base::Code::kInvalid, "not UTF-8"};
    tokenizer::Encoding encoding;
    encoding.ids.push_back(0);
    for (const char byte : text.substr(0, tokens_max - 1)) {
      encoding.ids.push_back(static_cast<unsigned char>(byte));
    }
    encoding.types.resize(encoding.ids.size());
    encoding.truncated = text.size() > tokens_max - 1;
    return encoding;
  }
  [[nodiscard]] base::Result<tokenizer::Encoding> encode_plain(
      std::string_view text) const override {
    return encode(text, text.size() + 1);
  }
  // A 0 before each of the two; what does not fit is cut from the second.
  [[nodiscard]] base::Result<tokenizer::Encoding> encode_pair(
      std::string_view first, std::string_view second, std::size_t tokens_max) const override {
    base::Result<tokenizer::Encoding> pair = encode(first, tokens_max - 1);
    if (!pair) return pair;
    const auto rest = encode(second, tokens_max - pair->ids.size());
    if (!rest) return rest;
    pair->ids.insert(pair->ids.end(), rest->ids.begin(), rest->ids.end());
    pair->types.resize(pair->ids.size(), 1);
    pair->truncated |= rest->truncated;
    return pair;
  }
  [[nodiscard]] base::Result<std::string> decode(std::span<const std::uint32_t> /*ids*/,
                                                 bool /*skip_special*/) const override {
    return base::Error{base::Code::kInvalid, "an echo gives no text"};
  }
  [[nodiscard]] std::size_t vocabulary_size() const override { return 256; }
  [[nodiscard]] std::size_t special_tokens() const override { return 1; }
  [[nodiscard]] std::size_t special_tokens_of_pair() const override { return 2; }
};

class Echo final : public model::Model {
 public:
  Echo() {
    info_.architecture = "Echo";
    info_.embed_width = kEchoWidth;
    info_.labels = {"a", "b", "c"};
    info_.tokens_max = kEchoTokens;
    info_.digest = std::string(64, 'e');
  }
  [[nodiscard]] const model::Info& info() const override { return info_; }
  [[nodiscard]] const tokenizer::Tokenizer& tokenizer() const override { return bytes_; }
  base::Status run(model::Task task, const model::Packed& batch,
                   std::span<float* const> rows) override {
    if (std::find(batch.ids.begin(), batch.ids.end(), 1U) != batch.ids.end()) {
      std::unique_lock lock(hold_mutex);
      hold_over.wait(lock, [] { return holds == 0; });
    }
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::size_t size = batch.offsets[i + 1] - batch.offsets[i];
      echo(batch.ids.subspan(batch.offsets[i], size), {rows[i], info_.row_width(task)});
    }
    return base::ok();
  }

 private:
  model::Info info_;
  Bytes bytes_;
};

class NoBackend final : public kernels::Backend {
 public:
  [[nodiscard]] std::string_view name() const override { return "none"; }
  [[nodiscard]] std::string description() const override { return "none"; }
  base::Result<kernels::Buffer> allocate(std::size_t /*size*/) override { return none(); }
  base::Result<std::unique_ptr<kernels::PackedLinear>> pack(
      const kernels::LinearWeights& /*weights*/) override {
    return none();
  }
  [[nodiscard]] std::string_view layout(kernels::LinearFormat /*format*/) const override {
    return "none";
  }
  base::Result<std::unique_ptr<kernels::PackedLinear>> view(
      kernels::LinearFormat /*format*/, std::uint32_t /*inputs*/, std::uint32_t /*outputs*/,
      std::span<const std::byte> /*bytes*/) override {
    return none();
  }
  void embed(const kernels::EmbedNorm& /*op*/) override {}
  void linear(const kernels::Linear& /*op*/) override {}
  void rotary(const kernels::Rotary& /*op*/) override {}
  void attention(const kernels::Attention& /*op*/) override {}
  void gate(const kernels::Gate& /*op*/) override {}
  void layer_norm(const kernels::LayerNorm& /*op*/) override {}
  void pool(const kernels::Pool& /*op*/) override {}
  void normalize(const kernels::Normalize& /*op*/) override {}
  void quantize(const kernels::Quantize& /*op*/) override {}

 private:
  static base::Error none() { return {base::Code::kUnavailable, "there is no backend here"}; }
};

}  // namespace

std::vector<float> echo_of(std::string_view text) {
  std::vector<std::uint32_t> ids{0};
  for (const char byte : text.substr(0, kEchoTokens - 1)) {
    ids.push_back(static_cast<unsigned char>(byte));
  }
  std::vector<float> row(kEchoWidth);
  echo(ids, row);
  return row;
}

Hold::Hold() {
  const std::lock_guard lock(hold_mutex);
  ++holds;
}

Hold::~Hold() {
  {
    const std::lock_guard lock(hold_mutex);
    --holds;
  }
  hold_over.notify_all();
}

kernels::Backend& no_backend() {
  static NoBackend backend;
  return backend;
}

}  // namespace nacelle::testing

namespace nacelle::model {

base::Result<std::unique_ptr<Model>> load(const std::string& /*directory*/,
                                          kernels::Backend& /*backend*/,
                                          const LoadOptions& /*options*/) {
  return std::unique_ptr<Model>(std::make_unique<testing::Echo>());
}

}  // namespace nacelle::model

// See encoder_model.h.
#include "sidecar/model/encoder_model.h"

#include <cstring>
#include <string>
#include <utility>

namespace nacelle::model {
namespace {

class EncoderModel final : public Model {
 public:
  EncoderModel(EncoderParts parts, kernels::Backend& backend)
      : parts_(std::move(parts)), backend_(backend) {}

  [[nodiscard]] const Info& info() const override { return parts_.info; }
  [[nodiscard]] const tokenizer::Tokenizer& tokenizer() const override { return *parts_.tokenizer; }

  base::Status run(Task task, const Packed& batch, std::span<float* const> rows) override {
    if (const auto status = check(task, batch, rows); !status) return status;
    const EncoderConfig& config = parts_.encoder.config();
    std::size_t first = 0;
    while (first < rows.size()) {
      const std::size_t last = Encoder::wave_end(batch.offsets, first);
      const Encoder::Wave wave = parts_.encoder.forward(batch, first, last);
      const float* out = task == Task::kEmbed
                             ? parts_.sentence.embed(wave, config.width, batch.raw)
                             : classify(parts_.classifier, wave, config,
                                        parts_.classifier_rows.as<float>(), backend_);
      const std::uint32_t width = parts_.info.row_width(task);
      for (std::size_t i = first; i < last; ++i, out += width) {
        std::memcpy(rows[i], out, width * sizeof(float));
      }
      first = last;
    }
    return base::ok();
  }

 private:
  // Refuses what the kernels would read or write out of bounds.
  [[nodiscard]] base::Status check(Task task, const Packed& batch,
                                   std::span<float* const> rows) const {
    const auto refuse = [&](const std::string& problem) {
      return base::Status(
          base::Error{base::Code::kInvalid, parts_.info.architecture + ": " + problem});
    };
    if (!parts_.info.can(task)) {
      return refuse(task == Task::kEmbed ? "this model does not embed"
                                         : "this model has no labels to classify with");
    }
    const std::size_t tokens = batch.ids.size();
    if (batch.types.size() != tokens) return refuse("ids and types differ in number");
    if (batch.offsets.size() != rows.size() + 1) return refuse("offsets and rows do not match");
    if (batch.offsets.front() != 0 || batch.offsets.back() != tokens) {
      return refuse("offsets do not cover the tokens");
    }
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::uint32_t begin = batch.offsets[i];
      const std::uint32_t end = batch.offsets[i + 1];
      if (begin >= end) return refuse("sequence " + std::to_string(i) + " has no tokens");
      if (end - begin > parts_.info.tokens_max) {
        return refuse("sequence " + std::to_string(i) + " has " + std::to_string(end - begin) +
                      " tokens; the limit is " + std::to_string(parts_.info.tokens_max));
      }
    }
    const EncoderConfig& config = parts_.encoder.config();
    for (std::size_t i = 0; i < tokens; ++i) {
      // Without a table, or with a table of one, types are not looked at.
      const bool bad_type = config.types > 1 && batch.types[i] >= config.types;
      if (batch.ids[i] < config.vocabulary && !bad_type) continue;
      return refuse("token " + std::to_string(i) + " has id " + std::to_string(batch.ids[i]) +
                    " and type " + std::to_string(batch.types[i]) + "; there are " +
                    std::to_string(config.vocabulary) + " ids and " + std::to_string(config.types) +
                    " types");
    }
    return base::ok();
  }

  EncoderParts parts_;
  kernels::Backend& backend_;
};

}  // namespace

std::unique_ptr<Model> make_encoder_model(EncoderParts parts, kernels::Backend& backend) {
  return std::make_unique<EncoderModel>(std::move(parts), backend);
}

}  // namespace nacelle::model

// A model: text in through its tokenizer, rows of floats out. One file per architecture says
// what is particular about it; architectures.cc lists them.
//
// A model is a sequence of short steps on a backend that others use too: run() is called by one
// thread at a time, with a batch that fits the limits of its Info.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/kernels.h"
#include "sidecar/base/result.h"
#include "sidecar/model/precision.h"
#include "sidecar/tokenizer/tokenizer.h"

namespace nacelle::model {

// What a model can be asked for.
enum class Task : std::uint8_t {
  kEmbed = 1,     // a vector per text
  kClassify = 2,  // a score per label and text
};

// How a logit becomes a score.
enum class ScoreFunction : std::uint8_t { kNone, kSigmoid, kSoftmax };

// What is known after load. Everything a client needs to read results comes from here.
struct Info {
  std::string architecture;         // "BertForSequenceClassification"
  std::uint32_t embed_width = 0;    // floats per text for kEmbed
  bool normalizes = false;          // embeddings are scaled to length 1
  std::vector<std::string> labels;  // by index, for kClassify; empty when it has no such head
  bool multi_label = false;         // scores by sigmoid instead of softmax (problem_type)
  // A cross-encoder: its one label scores a pair of texts (query, document), each encoded as the
  // tokenizer's template for pairs says, through `score`. kNone then means that the logit is the
  // score. Of other classifiers `score` repeats what multi_label says.
  bool reranks = false;
  ScoreFunction score = ScoreFunction::kSoftmax;
  // Texts to put before a text to embed, by what it is for: ("query", "query: "). Of the default,
  // used when a caller names none, the name is here; empty when there is no default.
  std::vector<std::pair<std::string, std::string>> prompts;
  std::string default_prompt;
  std::uint32_t tokens_max = 0;  // per text, special tokens included
  std::uint64_t parameters = 0;
  std::uint64_t memory_bytes = 0;  // packed weights plus workspace, without the file's mapping
  Precision precision = Precision::kF32;  // of the encoder's linear layers; never kAuto
  bool quantized = false;                 // the files hold int8 weights
  // The body's linear layers: the parts of each as the files name them, without ".weight".
  std::vector<std::vector<std::string>> layers;
  std::string digest;  // SHA-256 of the files that decide the answers, lower-case hex

  [[nodiscard]] bool can(Task task) const {
    return task == Task::kEmbed ? embed_width > 0 : !labels.empty();
  }
  // Floats per text.
  [[nodiscard]] std::uint32_t row_width(Task task) const {
    return task == Task::kEmbed ? embed_width : static_cast<std::uint32_t>(labels.size());
  }
};

// Sequences packed end to end.
struct Packed {
  std::span<const std::uint32_t> ids;      // [tokens]
  std::span<const std::uint32_t> types;    // [tokens]
  std::span<const std::uint32_t> offsets;  // [sequences + 1]
  bool raw = false;                        // kEmbed: as they are before normalizes
};

class Model {
 public:
  virtual ~Model() = default;
  [[nodiscard]] virtual const Info& info() const = 0;
  [[nodiscard]] virtual const tokenizer::Tokenizer& tokenizer() const = 0;

  // One forward pass. `rows[i]` points to row_width(task) floats for sequence i: the embedding, or
  // the logits when the task is kClassify. kUnavailable when memory for the batch runs out.
  virtual base::Status run(Task task, const Packed& batch, std::span<float* const> rows) = 0;
};

struct LoadOptions {
  Precision precision = Precision::kAuto;
  // A folder that packed weights are kept in, so that they need not be packed at the next load; ""
  // keeps none.
  std::string packed_folder = {};
  // Only the layer with this part, one of Info::layers, has that precision; the others are as kAuto
  // has them. "": all layers.
  std::string only = {};
};

// Loads a Hugging Face directory (config.json, model.safetensors or its shards, tokenizer.json, and
// sentence-transformers' modules when there are any). `backend` outlives the model. Errors name
// the file and what to do.
base::Result<std::unique_ptr<Model>> load(const std::string& directory, kernels::Backend& backend,
                                          const LoadOptions& options = {});

}  // namespace nacelle::model

// What the model tests share: the shipped models, recorded answers, folders to spoil, and batches.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/kernels.h"
#include "sidecar/files/json.h"
#include "sidecar/model/model.h"
#include "tests/support/data.h"
#include "tests/support/temp_dir.h"

namespace nacelle::model {

using testing::asset_path;
using testing::data_path;
using testing::read_golden;

// "reference", "cpu/avx512", ...: every backend and target that this machine can run, best first.
std::vector<std::string> backend_names();
std::unique_ptr<kernels::Backend> make_backend(const std::string& name, unsigned threads = 2);

// For INSTANTIATE_TEST_SUITE_P over backend_names(): "cpu_avx512".
std::string backend_test_name(const ::testing::TestParamInfo<std::string>& info);

// The model, which must load.
std::unique_ptr<Model> load_or_die(const std::string& directory, kernels::Backend& backend,
                                   const LoadOptions& options = {});

// The message of the error that loading `directory` gives; empty when it loads.
std::string load_error(const std::string& directory);

// A folder with a model to spoil; it disappears with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() = default;
  // One that starts as a copy of tests/data/<model>.
  explicit TemporaryFolder(const std::string& model);

  [[nodiscard]] std::string path() const { return folder_.path(); }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ / name; }
  void write(const std::string& name, std::string_view content) const;
  [[nodiscard]] std::string read(const std::string& name) const;
  void remove(const std::string& name) const;
  void edit_json(const std::string& name, const std::function<void(files::Json&)>& edit) const;
  // Edits the header of model.safetensors; `spaces` more follow it.
  void edit_header(const std::function<void(files::Json&)>& edit, std::size_t spaces = 0) const;

 private:
  testing::TempDir folder_;
};

// Sequences packed end to end, as a batch.
class Batch {
 public:
  void add(const std::vector<std::uint32_t>& ids);
  void add(const tokenizer::Encoding& encoding);
  [[nodiscard]] Packed packed() const { return {ids_, types_, offsets_}; }
  [[nodiscard]] std::size_t size() const { return offsets_.size() - 1; }

 private:
  std::vector<std::uint32_t> ids_;
  std::vector<std::uint32_t> types_;
  std::vector<std::uint32_t> offsets_ = {0};
};

// A tiny model of every family: tests/data/tiny-encoders/<name>.
inline constexpr std::array kFamilies = {
    "bert-gelu-new", "bert-relu", "roberta",    "xlm-roberta", "camembert",
    "electra",       "mpnet",     "distilbert", "modernbert",  "modernbert-biased"};

// A copy of one, with the tokenizer that all of them share.
class Family : public TemporaryFolder {
 public:
  explicit Family(const std::string& name);
};

// The sequences that a family's reference.json has answers for.
Batch recorded_batch(const files::Json& golden);

// The rows of one run, which must succeed.
using Rows = std::vector<std::vector<float>>;
Rows run_or_die(Model& model, Task task, const Batch& batch);

// `texts` through the model's tokenizer, cut to `tokens_max`, and through the model.
Rows run_texts(Model& model, Task task, const std::vector<std::string>& texts,
               std::size_t tokens_max);

// The largest |a[i] - b[i]|; infinite when a number is missing or not finite.
double largest_difference(const std::vector<float>& a, const std::vector<float>& b);
double cosine(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace nacelle::model

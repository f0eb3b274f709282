#include "tests/model/fixture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>

#include "sidecar/base/check.h"

namespace nacelle::model {

namespace fs = std::filesystem;

std::vector<std::string> backend_names() {
  std::vector<std::string> names;
  for (const kernels::BackendEntry& entry : kernels::all_backends()) {
    const auto targets = entry.targets();
    if (targets.empty()) names.emplace_back(entry.name);
    for (const std::string_view target : targets) {
      names.push_back(std::string(entry.name) + "/" + std::string(target));
    }
  }
  return names;
}

std::unique_ptr<kernels::Backend> make_backend(const std::string& name, unsigned threads) {
  auto backend = kernels::create_backend(name, threads);
  if (!backend) ADD_FAILURE() << backend.error().message;
  CHECK(backend.has_value());
  return std::move(*backend);
}

std::string backend_test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) c = c == '/' ? '_' : c;
  return name;
}

std::unique_ptr<Model> load_or_die(const std::string& directory, kernels::Backend& backend,
                                   const LoadOptions& options) {
  auto model = load(directory, backend, options);
  if (!model) ADD_FAILURE() << model.error().message;
  CHECK(model.has_value());
  return std::move(*model);
}

std::string load_error(const std::string& directory) {
  const auto backend = make_backend("reference", 1);
  const auto model = load(directory, *backend);
  return model ? "" : model.error().message;
}

TemporaryFolder::TemporaryFolder(const std::string& model) {
  fs::copy(data_path(model), path(), fs::copy_options::recursive);
}

void TemporaryFolder::write(const std::string& name, std::string_view content) const {
  // A new file each time: a model may still have the old one mapped.
  fs::remove(path(name));
  folder_.write(name, content);
}

std::string TemporaryFolder::read(const std::string& name) const {
  std::ifstream in(path(name), std::ios::binary);
  CHECK(in.good());
  return {std::istreambuf_iterator<char>(in), {}};
}

void TemporaryFolder::remove(const std::string& name) const { fs::remove_all(path(name)); }

void TemporaryFolder::edit_json(const std::string& name,
                                const std::function<void(files::Json&)>& edit) const {
  files::Json json = read_golden(path(name));
  edit(json);
  write(name, json.dump());
}

void TemporaryFolder::edit_header(const std::function<void(files::Json&)>& edit,
                                  std::size_t spaces) const {
  const std::string bytes = read("model.safetensors");
  std::size_t size = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    size |= static_cast<std::size_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  auto header = files::parse_json(std::string_view(bytes).substr(8, size), "header");
  CHECK(header.has_value());
  edit(*header);
  const std::string text = header->dump() + std::string(spaces, ' ');
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) out += static_cast<char>((text.size() >> (8 * i)) & 0xFF);
  write("model.safetensors", out + text + bytes.substr(8 + size));
}

void Batch::add(const std::vector<std::uint32_t>& ids) {
  add(tokenizer::Encoding{ids, std::vector<std::uint32_t>(ids.size(), 0), false});
}

void Batch::add(const tokenizer::Encoding& encoding) {
  ids_.insert(ids_.end(), encoding.ids.begin(), encoding.ids.end());
  types_.insert(types_.end(), encoding.types.begin(), encoding.types.end());
  offsets_.push_back(static_cast<std::uint32_t>(ids_.size()));
}

Family::Family(const std::string& name) : TemporaryFolder("tiny-encoders/" + name) {
  std::filesystem::copy_file(data_path("tiny-encoders/tokenizer.json"), path("tokenizer.json"));
}

Batch recorded_batch(const files::Json& golden) {
  Batch batch;
  for (const auto& item : golden["items"]) {
    batch.add(tokenizer::Encoding{item["ids"].get<std::vector<std::uint32_t>>(),
                                  item["types"].get<std::vector<std::uint32_t>>(), false});
  }
  return batch;
}

Rows run_or_die(Model& model, Task task, const Batch& batch) {
  // What run() does not write stays NaN and fails every comparison.
  Rows rows(batch.size(), std::vector<float>(model.info().row_width(task),
                                             std::numeric_limits<float>::quiet_NaN()));
  std::vector<float*> pointers;
  for (auto& row : rows) pointers.push_back(row.data());
  const auto status = model.run(task, batch.packed(), pointers);
  if (!status) ADD_FAILURE() << status.error().message;
  CHECK(status.has_value());
  return rows;
}

Rows run_texts(Model& model, Task task, const std::vector<std::string>& texts,
               std::size_t tokens_max) {
  Batch batch;
  for (const std::string& text : texts) {
    const auto encoding = model.tokenizer().encode(text, tokens_max);
    if (!encoding) ADD_FAILURE() << encoding.error().message;
    CHECK(encoding.has_value());
    batch.add(*encoding);
  }
  return run_or_die(model, task, batch);
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double{a[i]} - double{b[i]});
    if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest;
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  CHECK(a.size() == b.size());
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += double{a[i]} * double{b[i]};
    aa += double{a[i]} * double{a[i]};
    bb += double{b[i]} * double{b[i]};
  }
  return ab / std::sqrt(aa * bb);
}

}  // namespace nacelle::model

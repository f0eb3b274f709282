// Fuzzes what a request about texts may say: flags, parameters, prompts, and texts that are cut
// into windows. What is settled must be sound whatever the bytes are, and what is made of the texts
// must fit together: every later stage believes it.
#include <algorithm>
#include <string_view>
#include <vector>

#include "sidecar/asked.h"
#include "sidecar/base/check.h"
#include "sidecar/base/log.h"
#include "sidecar/base/utf8.h"
#include "sidecar/rows.h"
#include "sidecar/services.h"
#include "sidecar/windows.h"
#include "tests/fuzz/fuzz.h"
#include "tests/hostile/echo_model.h"
#include "tests/support/temp_dir.h"

namespace nacelle::fuzz {
namespace {

using shm::Op;

constexpr std::uint32_t kWindowsMax = 4;

sidecar::Services& services() {
  static sidecar::Services* all = [] {
    base::set_log_level(base::LogLevel::kError);
    const testing::TempDir folder;
    folder.write("config.json", "{}");
    sidecar::Config config;
    config.services = {{.name = "echo",
                        .model = folder.path(),
                        .prompts = {{"p", "a prompt: "}},
                        .prompt_default = "p",
                        .long_input = sidecar::LongInputDefault::kChunkMean}};
    auto loaded = sidecar::Services::load(config, testing::no_backend());
    CHECK(loaded.has_value());
    return new sidecar::Services(*std::move(loaded));
  }();
  return *all;
}

void check_settled(const sidecar::Asked& asked, const model::Info& info, Op op, std::size_t size) {
  const sidecar::RowPlan& plan = asked.plan;
  const model::Task task = op == Op::kEmbed ? model::Task::kEmbed : model::Task::kClassify;
  CHECK(plan.width >= 1 && plan.width <= info.row_width(task));
  CHECK(plan.size == shm::row_size(plan.element, plan.width) && plan.size >= 1);
  CHECK(plan.function != shm::Function::kModel);
  CHECK(asked.long_input != shm::LongInput::kService);
  CHECK(!base::find_invalid_utf8(asked.prompt) && asked.prompt.size() <= shm::kPromptBytesMax);
  CHECK(asked.head_size <= size);
  if (plan.direct) CHECK(plan.element == shm::Element::kFloat32);
}

void check_item(const shm::ItemReport& item, const sidecar::Request& request, std::size_t before,
                std::uint32_t tokens_max) {
  const std::uint32_t windows = request.windows();
  CHECK(windows > before);
  if (item.code != 0) {
    CHECK(windows == before + 1 && request.tokens(windows - 1) == 0 && item.tokens == 0);
    return;
  }
  CHECK(item.detail == windows - before && item.detail <= kWindowsMax);
  std::uint32_t tokens = 0;
  for (auto window = static_cast<std::uint32_t>(before); window < windows; ++window) {
    CHECK(request.tokens(window) > 0 && request.tokens(window) <= tokens_max);
    tokens += request.tokens(window);
  }
  CHECK(tokens == item.tokens);
}

// Computes with made-up numbers, as the executor does.
void finish(sidecar::Request& request, std::uint32_t width) {
  std::vector<float> numbers(width);
  for (std::uint32_t window = 0; window < request.windows(); ++window) {
    if (request.tokens(window) == 0) continue;
    for (std::uint32_t i = 0; i < width; ++i) {
      numbers[i] = static_cast<float>(i * window) - static_cast<float>(width);
    }
    sidecar::finish_window(request, window, numbers);
  }
}

void run(Input input) {
  constexpr Op kOps[] = {Op::kEmbed, Op::kClassify, Op::kRerank};
  const Op op = kOps[input.take<std::uint8_t>() % 3];
  const auto flags = static_cast<std::uint16_t>(input.take<std::uint8_t>() % 3);
  std::vector<std::byte> payload(input.left());
  input.fill(payload.data(), payload.size());
  sidecar::LoadedService& service = services().at(0);
  const model::Info& info = service.model->info();
  const base::Result<sidecar::Asked> asked = sidecar::read_asked(op, flags, payload, service);
  if (!asked) {
    CHECK(!asked.error().message.empty());
    return;
  }
  check_settled(*asked, info, op, payload.size());

  // The rest as texts of a few lengths.
  std::string_view rest(reinterpret_cast<const char*>(payload.data()) + asked->head_size,
                        payload.size() - asked->head_size);
  sidecar::Request request;
  request.plan = asked->plan;
  request.raw = asked->raw;
  sidecar::Windows windows(service, *asked, kWindowsMax, request);
  std::vector<shm::ItemReport> items;
  while (!rest.empty() && items.size() < 8) {
    const std::size_t size = std::min<std::size_t>(
        rest.size(), 1 + static_cast<unsigned char>(rest.front()) * std::size_t{3});
    const std::string_view text = rest.substr(0, size);
    rest.remove_prefix(size);
    const std::uint32_t before = request.windows();
    const base::Result<shm::ItemReport> item =
        op == Op::kRerank ? windows.add_pair("query", text) : windows.add(text);
    CHECK(item.has_value());
    check_item(*item, request, before, info.tokens_max);
    items.push_back(*item);
  }
  windows.finish();
  request.texts = static_cast<std::uint32_t>(items.size());
  CHECK(request.first_windows.empty() ? request.windows() == request.texts
                                      : request.first_windows.size() == request.texts + 1U);
  if (items.empty()) return;
  // Exact: a byte more would be found.
  std::vector<std::byte> reply(
      shm::row_list_size(request.texts, request.plan.size, request.plan.with_format));
  request.reply = reply;
  if (!request.plan.direct) {
    finish(request,
           info.row_width(op == Op::kEmbed ? model::Task::kEmbed : model::Task::kClassify));
  }
}

}  // namespace
}  // namespace nacelle::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nacelle::fuzz::run(nacelle::fuzz::Input(data, size));
  return 0;
}

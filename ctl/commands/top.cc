// nacellectl top: who uses the sidecar now, and where the time goes. Reads the statistics page; the
// sidecar does nothing for it but write that page twice a second while somebody watches.
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "ctl/command.h"
#include "ctl/screen.h"
#include "ctl/top.h"

namespace nacelle::ctl {
namespace {

using control::Statistics;

// The sidecar stops to write 10 s after the last one asked.
constexpr base::Nanos kAskAgain = 4 * base::kSecond;
// Between looks for the next page, when nothing else tells that it is there.
constexpr int kLookMs = 20;
// Pages come every half second: one that has not come by then means a sidecar that stands still.
constexpr base::Nanos kStale = 5 * base::kSecond;

struct Wanted {
  std::optional<std::uint64_t> frames;  // nothing: until it is ended
  base::Nanos interval = base::kSecond;
};

base::Result<Wanted> read_options(std::span<const std::string_view> args) {
  Wanted wanted;
  for (const std::string_view word : args) {
    const auto bad = [](const char* option, const char* range) {
      return base::Error{base::Code::kInvalid,
                         std::string(option) + " is not a whole number " + range};
    };
    if (option_value(word, "once")) {
      wanted.frames = 1;
    } else if (const auto count = option_value(word, "count")) {
      wanted.frames = whole_number(*count);
      if (!wanted.frames || *wanted.frames == 0) return bad("--count", "from 1 on");
    } else if (const auto interval = option_value(word, "interval")) {
      const auto ms = whole_number(*interval);
      if (!ms || *ms < 500 || *ms > 3'600'000) return bad("--interval", "of 500 to 3600000 ms");
      wanted.interval = static_cast<base::Nanos>(*ms) * base::kMillisecond;
    }
  }
  return wanted;
}

class Watch {
 public:
  explicit Watch(control::Client& sidecar) : sidecar_(sidecar) {}

  // The page as it is, asking the sidecar to go on writing it when it is time for that.
  base::Result<Statistics> read() {
    const base::Nanos now = base::now_ns();
    if (!view_ || now - asked_at_ > kAskAgain) {
      auto view = sidecar_.watch();
      if (!view) return view.error();
      view_.emplace(*std::move(view));
      asked_at_ = now;
    }
    return view_->read();
  }
  // The first page that was written after this one.
  base::Result<Statistics> after(const Statistics& before) {
    const base::Nanos until = base::now_ns() + kStale;
    while (true) {
      auto now = read();
      if (!now || now->updates != before.updates) return now;
      if (base::now_ns() >= until) {
        return base::Error{base::Code::kUnavailable,
                           "the sidecar does not write its statistics page: is it stopped?"};
      }
      ::poll(nullptr, 0, kLookMs);
    }
  }

 private:
  control::Client& sidecar_;
  std::optional<control::StatisticsView> view_;
  base::Nanos asked_at_ = 0;
};

base::Status run_on(const Screen& screen, Watch& watch, Statistics before, const Wanted& wanted) {
  auto now = watch.after(before);
  for (std::uint64_t frame = 0;;) {
    if (!now) return now.error();
    const Screen::Size size = Screen::size();
    Screen::draw(fit(top_text(before, *now), size.columns, size.rows));
    switch (screen.wait(base::now_ns() + wanted.interval)) {
      case Screen::Event::kQuit:
        return base::ok();
      case Screen::Event::kResized:
        continue;  // the same numbers in another size
      case Screen::Event::kTimeout:
        break;
    }
    if (wanted.frames && ++frame >= *wanted.frames) return base::ok();
    before = *now;
    now = watch.after(before);
  }
}

// A frame behind the other, for a pipe or a file.
base::Status run_plain(Watch& watch, Statistics before, const Wanted& wanted, Output& out) {
  for (std::uint64_t frame = 0; !wanted.frames || frame < *wanted.frames; ++frame) {
    if (frame > 0) ::poll(nullptr, 0, static_cast<int>(wanted.interval / base::kMillisecond));
    const auto now = watch.after(before);
    if (!now) return now.error();
    std::string text =
        out.wants_json() ? top_json(before, *now)
                                   .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
                               "\n"
                         : (frame > 0 ? "\n" : "") + top_text(before, *now);
    before = *now;
    if (wanted.frames == 1U) {
      out.verbatim(text);
    } else if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
      return base::ok();  // nobody reads any more
    }
  }
  return base::ok();
}

base::Status run(std::span<const std::string_view> args, control::Client& sidecar, Output& out) {
  const auto wanted = read_options(args);
  if (!wanted) return wanted.error();
  Watch watch(sidecar);
  const auto first = watch.read();
  if (!first) return first.error();
  const bool frames_only = out.wants_json() || wanted->frames == 1U;
  if (!frames_only) {
    if (const auto screen = Screen::open()) return run_on(*screen, watch, *first, *wanted);
  }
  return run_plain(watch, *first, *wanted, out);
}

constexpr std::string_view kOptions[] = {"once", "count", "interval"};

}  // namespace

extern const Command kTop{
    .name = "top",
    .arguments = "[--once] [--interval=MS]",
    .arguments_max = 0,
    .options = kOptions,
    .summary = "watch services, clients, queue and times as they change",
    .help =
        "Ends with q. --interval=MS: how often (1000). --once: one reading; --count=N, -n N: so "
        "many.\n"
        "Where standard output is no terminal, readings follow each other; with --json one a "
        "line.\n"
        "Rates are from reading to reading. Times, batch and fill are of requests that ended in "
        "the\n"
        "half second before it: half of them within the first time, all but one in a hundred "
        "within\n"
        "the second. \"batch\" is texts, \"fill\" tokens of scheduler.batch_tokens_max; \"device\" "
        "is a\n"
        "client's share of the device's time. Columns that do not fit are cut off.",
    .run = run,
};

}  // namespace nacelle::ctl

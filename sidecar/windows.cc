#include "sidecar/windows.h"

#include <algorithm>
#include <string>
#include <utility>

#include "sidecar/base/utf8.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using shm::ItemReport;
using shm::LongInput;
using tokenizer::Encoding;

std::uint32_t size_of(const Encoding& encoding) {
  return static_cast<std::uint32_t>(encoding.ids.size());
}

template <typename T>
void append(std::vector<T>& to, const std::vector<T>& from, std::size_t begin, std::size_t end) {
  to.insert(to.end(), from.begin() + static_cast<std::ptrdiff_t>(begin),
            from.begin() + static_cast<std::ptrdiff_t>(end));
}

ItemReport failed(Code code, std::uint64_t detail) {
  ItemReport report{};
  report.code = static_cast<std::uint16_t>(code);
  report.detail = static_cast<std::uint32_t>(detail);
  return report;
}

// Adds what is known of all tokens of a text.
ItemReport with_total(ItemReport report, const Encoding& all) {
  report.tokens_total = size_of(all);
  if (all.truncated) report.flags |= shm::kItemMoreTokens;
  return report;
}

}  // namespace

Windows::Windows(const LoadedService& service, const Asked& asked, std::uint32_t windows_max,
                 Request& request)
    : service_(service),
      asked_(asked),
      request_(request),
      tokens_max_(service.model->info().tokens_max),
      windows_max_(windows_max) {
  request_.offsets.assign(1, 0);
  request_.first_windows.assign(1, 0);
}

void Windows::add_window(const Encoding& encoding) {
  append(request_.ids, encoding.ids, 0, encoding.ids.size());
  append(request_.types, encoding.types, 0, encoding.types.size());
  request_.offsets.push_back(static_cast<std::uint32_t>(request_.ids.size()));
}

// A text as several windows, from its tokens with the special ones around them once.
ItemReport Windows::cut(const Encoding& all) {
  const std::size_t begin = service_.frame->before;
  const std::size_t behind = request_.specials - begin;
  const std::size_t end = all.ids.size() - behind;
  const std::size_t room = tokens_max_ - request_.specials;
  ItemReport report{};
  for (std::size_t at = begin; at < end; at += room) {
    const std::size_t stop = std::min(at + room, end);
    for (const auto& [to, from] :
         {std::pair{&request_.ids, &all.ids}, {&request_.types, &all.types}}) {
      append(*to, *from, 0, begin);
      append(*to, *from, at, stop);
      append(*to, *from, end, from->size());
    }
    request_.offsets.push_back(static_cast<std::uint32_t>(request_.ids.size()));
    report.tokens += static_cast<std::uint32_t>(stop - at) + request_.specials;
    report.detail += 1;
  }
  any_cut_ |= report.detail > 1;
  return with_total(report, all);
}

// encode(limit) gives the text's tokens, at most so many.
template <typename Encode>
base::Result<ItemReport> Windows::add_encoded(Encode&& encode, std::uint32_t specials) {
  base::Result<Encoding> encoding = encode(tokens_max_);
  if (!encoding) return encoding.error();
  ItemReport report{};
  report.tokens = size_of(*encoding);
  report.detail = 1;
  if (!encoding->truncated) {
    report.tokens_total = report.tokens;
    add_window(*encoding);
    return report;
  }
  if (asked_.long_input == LongInput::kTruncate && !asked_.counts) {
    report.flags = shm::kItemTruncated;
    add_window(*encoding);
    return report;
  }
  // Bounded, like all that is read of a text beyond what the model takes.
  const std::uint64_t windows_tokens = std::min<std::uint64_t>(
      std::uint64_t{windows_max_} * (tokens_max_ - specials) + specials, UINT32_MAX);
  const base::Result<Encoding> all = encode(windows_tokens);
  if (!all) return all.error();
  if (asked_.long_input == LongInput::kTruncate) {
    report.flags = shm::kItemTruncated;
    add_window(*encoding);
    return with_total(report, *all);
  }
  if (asked_.long_input == LongInput::kReject) {
    return with_total(failed(Code::kTooLarge, tokens_max_), *all);
  }
  if (all->truncated) return with_total(failed(Code::kTooLarge, windows_tokens), *all);
  return cut(*all);
}

base::Result<ItemReport> Windows::add(std::string_view text) {
  const tokenizer::Tokenizer& tokenizer = service_.model->tokenizer();
  request_.specials = static_cast<std::uint32_t>(tokenizer.special_tokens());
  const std::string joined = asked_.prompt.empty() ? "" : asked_.prompt + std::string(text);
  const std::string_view whole = asked_.prompt.empty() ? text : std::string_view(joined);
  base::Result<ItemReport> report = add_encoded(
      [&](std::uint64_t limit) { return tokenizer.encode(whole, limit); }, request_.specials);
  if (!report) {
    // The one fault of a text that leaves its neighbours alone; the reply tells the offset.
    const auto bad = base::find_invalid_utf8(text);
    if (!bad) return report.error();
    report = failed(Code::kInvalid, *bad);
  }
  if (report->code != 0) {
    skip();
  } else {
    request_.first_windows.push_back(request_.windows());
  }
  return report;
}

base::Result<ItemReport> Windows::add_pair(std::string_view query, std::string_view document) {
  const tokenizer::Tokenizer& tokenizer = service_.model->tokenizer();
  request_.specials = static_cast<std::uint32_t>(tokenizer.special_tokens_of_pair());
  base::Result<ItemReport> report = add_encoded(
      [&](std::uint64_t limit) { return tokenizer.encode_pair(query, document, limit); },
      request_.specials);
  if (!report) {
    const auto bad = base::find_invalid_utf8(document);
    if (!bad) return report.error();
    report = failed(Code::kInvalid, *bad);
  }
  if (report->code != 0) {
    skip();
  } else {
    request_.first_windows.push_back(request_.windows());
  }
  return report;
}

void Windows::skip() {
  request_.offsets.push_back(request_.offsets.back());
  request_.first_windows.push_back(request_.windows());
}

void Windows::finish() {
  if (any_cut_) {
    request_.plan.direct = false;
  } else {
    request_.first_windows.clear();  // every text is one window
  }
}

}  // namespace nacelle::sidecar

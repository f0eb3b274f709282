#include "shm/pending.h"

#include <utility>

namespace nacelle {
namespace {

shm::ListCall with_texts(shm::ListCall call, std::span<const std::string_view> texts) {
  call.texts = texts;
  return call;
}

}  // namespace

Pending::Pending(const shm::ListCall& call, std::vector<std::string_view> texts,
                 std::shared_ptr<shm::Link> link, std::shared_ptr<const ServiceInfo> service)
    : texts_(std::move(texts)),
      service_(std::move(service)),
      run_(with_texts(call, texts_), std::move(link)) {}

base::Result<std::optional<CallReport>> Pending::advance(CallReport* on_error) {
  run_.link().begin_look(round_);
  base::Result<bool> done = run_.advance();
  if (!done) {
    if (on_error != nullptr) *on_error = run_.report();
    return done.error();
  }
  return *done ? std::optional<CallReport>(run_.report()) : std::nullopt;
}

}  // namespace nacelle

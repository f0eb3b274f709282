#include "shm/pending.h"

#include <cstdint>
#include <span>
#include <utility>

#include "shm/list_call.h"

namespace nacelle {
namespace {

shm::ListCall with_texts(shm::ListCall call, std::span<const std::string_view> texts) {
  call.texts = texts;
  return call;
}

}  // namespace

struct Pending::State {
  State(const shm::ListCall& call, std::vector<std::string_view> list,
        std::shared_ptr<shm::Link> link, std::shared_ptr<const ServiceInfo> info)
      : texts(std::move(list)),
        service(std::move(info)),
        run(with_texts(call, texts), std::move(link)) {}

  std::vector<std::string_view> texts;
  std::shared_ptr<const ServiceInfo> service;
  shm::ListRun run;
  std::uint64_t round = 0;  // of looks at the calls of this link: the last one that we had part in
};

Pending::Pending(const shm::ListCall& call, std::vector<std::string_view> texts,
                 std::shared_ptr<shm::Link> link, std::shared_ptr<const ServiceInfo> service)
    : state_(std::make_unique<State>(call, std::move(texts), std::move(link), std::move(service))) {
}

Pending::~Pending() = default;

base::Result<std::optional<CallReport>> Pending::advance(CallReport* on_error) {
  shm::ListRun& run = state_->run;
  run.link().begin_look(state_->round);
  base::Result<bool> done = run.advance();
  if (!done) {
    if (on_error != nullptr) *on_error = run.report();
    return done.error();
  }
  return *done ? std::optional<CallReport>(run.report()) : std::nullopt;
}

int Pending::fd() const { return state_->run.link().poll_fd(); }

const ServiceInfo& Pending::service() const { return *state_->service; }

}  // namespace nacelle

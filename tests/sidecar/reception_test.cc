// Clients that come and go in ways that the socket alone does not tell.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "kernels/kernels.h"
#include "shm/link.h"
#include "sidecar/pipeline.h"
#include "tests/support/temp_dir.h"

namespace nacelle::sidecar {
namespace {

constexpr base::Nanos kLong = 10 * base::kSecond;

// The socket stays open in the grandchild: only the process's own end tells.
TEST(Reception, ADeadClientIsLetGoAlthoughAChildOfItHoldsTheSocket) {
  const nacelle::testing::TempDir dir;
  Config config;
  config.socket = dir / "nacelle.sock";
  config.services = {{"tiny", NACELLE_SOURCE_DIR "/tests/data/tiny-bert"}};
  auto backend = kernels::create_backend("auto", 1);
  ASSERT_TRUE(backend);
  auto services = Services::load(config, **backend);
  ASSERT_TRUE(services) << services.error().message;
  const auto pipeline = Pipeline::start(config, *services);
  ASSERT_TRUE(pipeline) << pipeline.error().message;
  {
    const auto probe = shm::greet(config.socket, shm::Hello{}, base::now_ns() + kLong);
    ASSERT_TRUE(probe);
    if (!shm::process_of(probe->socket.get())) GTEST_SKIP() << "no SO_PEERPIDFD before Linux 6.5";
  }

  int tell[2];
  ASSERT_EQ(::pipe(tell), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto link = shm::Link::open(config.socket, shm::Hello{}, base::now_ns() + kLong);
    const pid_t grandchild = link ? ::fork() : -1;
    if (grandchild != 0) {
      [[maybe_unused]] const auto size = ::write(tell[1], &grandchild, sizeof grandchild);
    }
    for (;;) ::pause();
  }
  pid_t grandchild = -1;
  ASSERT_EQ(::read(tell[0], &grandchild, sizeof grandchild), ssize_t{sizeof grandchild});
  ASSERT_GT(grandchild, 0);
  const auto connected = [&] { return (*pipeline)->report().clients.size(); };
  while (connected() != 1) std::this_thread::yield();  // and the probe has left

  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const base::Nanos give_up = base::now_ns() + kLong;
  while (connected() != 0 && base::now_ns() < give_up) std::this_thread::yield();
  EXPECT_EQ(connected(), 0U);
  EXPECT_EQ(::kill(grandchild, 0), 0) << "it holds the socket to the end of the test";
  ::kill(grandchild, SIGKILL);
  ::close(tell[0]);
  ::close(tell[1]);
}

}  // namespace
}  // namespace nacelle::sidecar

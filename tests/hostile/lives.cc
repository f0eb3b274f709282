// Hostile scenarios, part 4: sockets, doorbells, processes, limits, and memory that is punched or
// written at the wrong time.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "tests/hostile/scenario.h"

namespace nacelle::testing {
namespace {

using base::Code;
using shm::Op;
using shm::Violation;

const std::string kHeldList = text_list({"\x01 is held in the model"});

// Runs `child` in a forked process, which shares the regions and the socket; its exit status. Only
// system calls and stores there: the threads of this process do not exist in it.
template <typename Child>
int in_child(Child&& child) {
  const pid_t pid = ::fork();
  CHECK(pid >= 0);
  if (pid == 0) ::_exit(child());
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid && WIFEXITED(status));
  return WEXITSTATUS(status);
}

void punch(Attack& a, off_t offset, std::size_t size) {
  a.check(::fallocate(a.client().request_fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
                      static_cast<off_t>(size)) == 0,
          "A's seals allow punching");
}

const Scenario kScenarios[] = {
    {"AMillionRingsWithoutWork", harmless(),
     [](Attack& a) {
       for (int i = 0; i < 1'000'000; ++i) a.client().ring();
     }},
    {"TheDoorbellIsFull", harmless(),
     [](Attack& a) {
       const int doorbell = a.client().doorbell();
       std::uint64_t count = UINT64_MAX - 1;
       [[maybe_unused]] const ssize_t put = ::write(doorbell, &count, sizeof count);
       a.client().ring();
       CHECK(a.stage.neighbour().served(20));
       CHECK(::read(doorbell, &count, sizeof count) == sizeof count);  // for the probe
     }},
    {"TheDoorbellBlocksAndIsEmptied", harmless(),
     [](Attack& a) {
       const int doorbell = a.client().doorbell();
       CHECK(::fcntl(doorbell, F_SETFL, 0) == 0);  // of the open file that both sides share
       for (int i = 0; i < 2'000; ++i) {
         std::uint64_t count = 0;
         a.client().ring();
         a.check(::read(doorbell, &count, sizeof count) == 8, "nobody else reads it");
       }
       CHECK(::fcntl(doorbell, F_SETFL, O_NONBLOCK) == 0);
     }},

    {"AByteOnTheSocket", disconnected(Violation::kSocket),
     [](Attack& a) { a.check(say(a.client().socket(), "x", 1), "said"); }},
    {"AHelloAfterTheHandshakeWithAnotherVersion", disconnected(Violation::kSocket),
     [](Attack& a) {
       shm::Hello hello;
       hello.version_major = static_cast<std::uint16_t>(a.any32());
       hello.magic = a.any32();
       a.check(say(a.client().socket(), hello), "said");
     }},
    {"DescriptorsOnTheSocket", disconnected(Violation::kSocket),
     [](Attack& a) {
       const base::Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
       const std::vector<int> fds(253, fd.get());
       a.check(say(a.client().socket(), "x", 1, fds), "said");
     }},
    {"TheSocketIsFlooded", disconnected(Violation::kSocket),
     [](Attack& a) {
       const std::string noise = a.bytes(4096);
       while (say(a.client().socket(), noise.data(), noise.size())) {
       }
     }},
    {"AnEmptyMessageOnTheSocket", disconnected(Violation::kSocket),
     [](Attack& a) {
       a.check(say(a.client().socket(), "", 0), "said");
       CHECK(eventually([&] { return a.client().hung_up(); }));
     }},
    {"TheSocketIsHalfClosed", left(),
     [](Attack& a) {
       ::shutdown(a.client().socket(), SHUT_WR);
       CHECK(eventually([&] { return a.stage.report().clients.size() == 1; }));
     }},

    {"LeavesRightAfterPublishing", left(),
     [](Attack& a) {
       for (std::uint32_t i = 0; i < a.client().slots(); ++i) a.client().ask(i, Op::kPing, "bye");
       a.leave();
     }},
    {"LeavesWithARequestInTheModel", left(),
     [](Attack& a) {
       const Hold hold;
       for (std::uint32_t i = 0; i < 4; ++i) a.client().ask(i, Op::kEmbed, kHeldList, 1);
       a.await_in_flight(4);
       a.leave();
       CHECK(eventually([&] { return a.stage.report().clients.size() == 1; }));
     }},
    {"NeverReadsItsReplies", harmless(),
     [](Attack& a) {
       const RawClient& client = a.client();
       const std::string payload(12'000, 'r');
       bool busy = false;
       for (std::uint32_t i = 0; i + 1 < client.slots(); ++i) {
         a.check(client.await(i, client.ask(i, Op::kPing, payload)), "answered");
         busy = busy || client.code(i) == Code::kBusy;
       }
       a.check(busy, "the offender's own room is used up");
     }},
    {"RewritesWhatWasConsumed", harmless(),
     [](Attack& a) {
       const RawClient& client = a.client();
       for (int i = 0; i < 50; ++i) {
         const std::string payload = a.bytes(64 + a.below(4000));
         CHECK(client.await(0, client.ask(0, Op::kPing, payload)));
         a.check(client.answer(0) == payload, "the echo is right");
         const std::string noise = a.bytes(client.arena().size());
         std::memcpy(client.arena().data(), noise.data(), noise.size());
         client.slot(0).payload_size = a.any32();
         client.slot(0).op = static_cast<std::uint16_t>(a.any32());
         client.ring();
       }
     }},
    {"WritesOnAfterItWasDisconnected", disconnected(Violation::kSlotsUsed),
     [](Attack& a) {
       const RawClient& client = a.client();
       client.header().slots_used.store(UINT32_MAX);
       client.ring();
       CHECK(eventually([&] { return client.hung_up(); }));
       for (int i = 0; i < 100; ++i) {
         const std::string noise = a.bytes(client.a_size());
         std::memcpy(client.a(), noise.data(), noise.size());
         client.ring();
       }
       CHECK(a.stage.neighbour().served());
     }},
    {"WritesOnWhileItsRequestIsInTheModel", disconnected(Violation::kGeneration),
     [](Attack& a) {
       const Hold hold;
       const RawClient& client = a.client();
       client.ask(0, Op::kEmbed, kHeldList, 1);
       a.await_in_flight(1);
       client.slot(1).generation.store(77);
       client.publish(2);
       CHECK(eventually([&] { return client.hung_up(); }));
       const std::string noise = a.bytes(client.a_size());
       std::memcpy(client.a(), noise.data(), noise.size());
     }},

    {"BothHalvesOfAForkCall", harmless(),
     [](Attack& a) {
       const RawClient& client = a.client();
       const int status = in_child([&] {
         for (int i = 0; i < 100; ++i) {
           if (!client.await(1, client.ask(1, Op::kPing, "child"))) return 1;
         }
         return 0;
       });
       a.check(status == 0, "the child is served");
       a.check(client.await(2, client.ask(2, Op::kPing, "parent")), "so is the parent");
     }},
    {"BothHalvesOfAForkUseTheSameSlot", disconnected(Violation::kBusySlot),
     [](Attack& a) {
       const Hold hold;
       const RawClient& client = a.client();
       client.ask(0, Op::kEmbed, kHeldList, 1);
       a.await_in_flight(1);
       in_child([&] {
         client.publish(0);
         return 0;
       });
       CHECK(eventually([&] { return client.hung_up(); }));
     }},
    {"AProcessThatIsExecutedKeepsTheDescriptors", left(),
     [](Attack& a) {
       int pipe[2];
       CHECK(::pipe2(pipe, O_CLOEXEC) == 0);
       const RawClient& client = a.client();
       const pid_t pid = ::fork();
       CHECK(pid >= 0);
       if (pid == 0) {
         for (const int fd : {client.socket(), client.request_fd(), client.doorbell()}) {
           ::fcntl(fd, F_SETFD, 0);
         }
         ::dup2(pipe[0], 0);
         ::execl("/bin/cat", "cat", nullptr);
         ::_exit(127);
       }
       ::close(pipe[0]);
       a.leave();
       a.check(a.stage.neighbour().served(), "served meanwhile");
       a.check(a.stage.report().clients.size() == 2, "the socket lives in the other program");
       ::close(pipe[1]);  // cat ends
       int status = 0;
       CHECK(::waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
     }},
    {"NoRoomForTheDescriptorsOfTheWelcome", left(),
     [](Attack& a) {
       const int status = in_child([&] {
         const base::Fd socket = dial(a.stage.path());
         const rlimit tight{static_cast<rlim_t>(socket.get()) + 1, 4096};
         if (::setrlimit(RLIMIT_NOFILE, &tight) != 0) return 1;
         if (!say(socket.get(), shm::Hello{})) return 2;
         char byte = 0;
         return ::recv(socket.get(), &byte, 1, 0) == 1 ? 0 : 3;  // the descriptors are lost
       });
       a.check(status == 0, "the client has only harmed itself");
     }},
    {"TheWholeRequestRegionIsPunched", harmless(),
     [](Attack& a) {
       for (int i = 0; i < 20; ++i) punch(a, 0, a.client().a_size());
     }},
    {"ThePayloadIsPunchedAfterPublishing", harmless(),
     [](Attack& a) {
       const RawClient& client = a.client();
       for (int i = 0; i < 50; ++i) {
         const std::string payload(8192, 'p');
         const std::uint32_t slot = a.slot();
         client.write(slot, Op::kPing, payload);
         const std::uint64_t generation = client.publish(slot);
         punch(a, client.table().request_arena_offset, client.arena().size());
         a.check(client.await(slot, generation) && client.code(slot) == Code::kOk, "answered");
         client.release(slot);
       }
     }},
    // Its generations fall back to 0.
    {"TheSlotsArePunchedAfterARequest", disconnected(Violation::kGeneration),
     [](Attack& a) {
       CHECK(a.client().await(0, a.client().ask(0, Op::kPing, "once")));
       punch(a, 0, 4096);
       a.client().header().slots_used.store(1);
       a.client().ring();
     }},
    {"TheRegionsAreCutOrGrown", harmless(),
     [](Attack& a) {
       for (const int fd : {a.client().request_fd(), a.client().reply_fd()}) {
         for (const off_t size : {off_t{0}, off_t{a.below(4096)}, off_t{1} << 30}) {
           a.check(::ftruncate(fd, size) == -1 && errno == EPERM, "sizes are sealed");
         }
       }
     }},
    {"NoiseEverywhereAllTheTime", disconnected_somehow(),
     [](Attack& a) {
       const RawClient& client = a.client();
       CHECK(eventually([&] {
         const std::uint32_t at = a.below(client.a_size() / 8);
         reinterpret_cast<std::uint64_t*>(client.a())[at % 256] = a.random();
         client.header().slots_used.store(a.below(client.slots() + 2));
         client.ring();
         return client.hung_up();
       }));
     }},
};

}  // namespace

std::span<const Scenario> life_scenarios() { return kScenarios; }

}  // namespace nacelle::testing

// Hostile scenarios, part 3: before there is a connection.
#include <fcntl.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "tests/hostile/scenario.h"

namespace nacelle::testing {
namespace {

using base::Code;
using shm::Violation;

// As many descriptors as one message can carry.
constexpr std::size_t kScmMax = 253;

void say_hello_of(Attack& a, const shm::Hello& hello) { a.say_hello(&hello, sizeof hello); }

// A right hello in every way, but with descriptors; the connection is then the offender's.
void hello_with(Attack& a, const std::vector<int>& fds) {
  base::Fd socket = dial(a.stage.path());
  CHECK(say(socket.get(), shm::Hello{}, fds));
  std::optional<Heard> heard = hear(socket.get());
  CHECK(heard && heard->welcome.code == 0);
  a.adopt(std::move(socket), *std::move(heard));
}

// A hello as one can be, with noise where the sidecar should not care.
void noisy_hello(Attack& a, shm::Hello hello, std::size_t more) {
  std::string bytes(reinterpret_cast<const char*>(&hello), sizeof hello);
  bytes += a.bytes(more);
  base::Fd socket = dial(a.stage.path());
  CHECK(say(socket.get(), bytes.data(), bytes.size()));
  std::optional<Heard> heard = hear(socket.get());
  CHECK(heard && heard->welcome.code == 0);
  a.adopt(std::move(socket), *std::move(heard));
}

const Scenario kScenarios[] = {
    {"AHelloOfOneByte", refused(Code::kInvalid), [](Attack& a) { a.say_hello("N", 1); }},
    {"AHelloCutShort", refused(Code::kInvalid),
     [](Attack& a) {
       const shm::Hello hello;
       a.say_hello(&hello, 1 + a.below(sizeof hello - 1));
     }},
    {"AnEmptyHello", refused(Code::kSidecarGone), [](Attack& a) { a.say_hello("", 0); }},
    {"AHelloOfOneByteTooMany", refused(Code::kInvalid),
     [](Attack& a) {
       std::string bytes(shm::kMessageMax + 1, '\0');
       const shm::Hello hello;
       std::memcpy(bytes.data(), &hello, sizeof hello);
       a.say_hello(bytes.data(), bytes.size());
     }},
    {"AHandshakeOf64MiB", refused(Code::kInvalid),
     [](Attack& a) {
       // As much of it as the kernel takes at a time, until the sidecar has had enough.
       const base::Fd socket = dial(a.stage.path());
       const std::string bytes(64 << 20, 'h');
       std::size_t size = bytes.size();
       while (!say(socket.get(), bytes.data(), size)) size /= 2;
       for (std::size_t sent = size; sent < bytes.size(); sent += size) {
         if (!say(socket.get(), bytes.data(), size) && errno == EPIPE) break;
       }
       a.note_refusal(socket.get());
     }},
    {"AMagicOfZero", refused(Code::kInvalid),
     [](Attack& a) { say_hello_of(a, shm::Hello{.magic = 0}); }},
    {"ABitFlippedInTheMagic", refused(Code::kInvalid),
     [](Attack& a) {
       say_hello_of(a, shm::Hello{.magic = shm::kHelloMagic ^ (1U << a.below(32))});
     }},
    {"AHelloOfNoise", refused(Code::kInvalid),
     [](Attack& a) {
       std::string bytes = a.bytes(sizeof(shm::Hello) + a.below(400));
       bytes[0] = 'x';
       a.say_hello(bytes.data(), bytes.size());
     }},
    {"AnOlderMajorVersion", refused(Code::kVersionMismatch),
     [](Attack& a) { say_hello_of(a, shm::Hello{.version_major = 0}); }},
    {"AnyNewerMajorVersion", refused(Code::kVersionMismatch),
     [](Attack& a) {
       const auto more = 1 + a.below(UINT16_MAX - shm::kVersionMajor);
       say_hello_of(
           a, shm::Hello{.version_major = static_cast<std::uint16_t>(shm::kVersionMajor + more)});
     }},
    {"NoHello", refused(Code::kDeadlineExceeded),
     [](Attack& a) {
       const base::Fd socket = dial(a.stage.path());
       a.note_refusal(socket.get());
     }},
    {"ClosedInsteadOfAHello", refused(Code::kSidecarGone),
     [](Attack& a) {
       dial(a.stage.path()).reset();
       a.refusals.push_back(Code::kSidecarGone);  // which nobody hears
     }},
    {"HalfClosedInsteadOfAHello", refused(Code::kSidecarGone),
     [](Attack& a) {
       const base::Fd socket = dial(a.stage.path());
       ::shutdown(socket.get(), SHUT_WR);
       a.note_refusal(socket.get());
     }},
    {"ClosedBeforeTheWelcome", left_in_the_middle(),
     [](Attack& a) {
       const base::Fd socket = dial(a.stage.path());
       CHECK(say(socket.get(), shm::Hello{}));
     }},
    {"TheWelcomeIsNeverRead", left(),
     [](Attack& a) {
       const base::Fd socket = dial(a.stage.path());
       CHECK(say(socket.get(), shm::Hello{}));
       CHECK(eventually([&] { return a.stage.report().clients.size() == 2; }));
       CHECK(a.stage.neighbour().served(20));
     }},
    {"TwoHellosAtOnce", disconnected(Violation::kSocket),
     [](Attack& a) {
       base::Fd socket = dial(a.stage.path());
       CHECK(say(socket.get(), shm::Hello{}));
       CHECK(say(socket.get(), shm::Hello{.version_major = 9}));
       std::optional<Heard> heard = hear(socket.get());
       CHECK(heard && heard->welcome.code == 0);
       a.adopt(std::move(socket), *std::move(heard));
     }},
    {"AHelloOfAFutureMinorVersion", harmless(),
     [](Attack& a) {
       noisy_hello(a, {.version_minor = static_cast<std::uint16_t>(1 + a.below(UINT16_MAX))},
                   1 + a.below(shm::kMessageMax - sizeof(shm::Hello)));
     }},
    {"AHelloWithNoiseInReservedBytesAndFeatures", harmless(),
     [](Attack& a) {
       shm::Hello hello;
       // The one feature that exists is no noise: the socket carries all bytes then.
       hello.features = a.random() & ~shm::kFeatureCarry;
       for (std::uint8_t& byte : hello.reserved) byte = static_cast<std::uint8_t>(a.any32());
       noisy_hello(a, hello, 0);
     }},
    {"ANameOfNoise", harmless(),
     [](Attack& a) {
       shm::Hello hello;
       const std::string name = a.bytes(sizeof hello.name);
       std::memcpy(hello.name, name.data(), name.size());
       hello.name[0] = '\x1b';
       noisy_hello(a, hello, 0);
       for (const control::ClientReport& client : a.stage.report().clients) {
         a.check(std::all_of(client.name.begin(), client.name.end(),
                             [](char c) { return c >= 0x20 && c <= 0x7e; }),
                 "what an operator sees is printable");
       }
     }},

    // The sidecar makes all memory itself; what a client brings along is closed unseen.
    {"AMemfdWithoutSealsIsOffered", harmless(),
     [](Attack& a) {
       const base::Fd fd(::memfd_create("offered", MFD_CLOEXEC | MFD_ALLOW_SEALING));
       hello_with(a, {fd.get()});
       CHECK(::ftruncate(fd.get(), 1) == 0);  // shrinks what the sidecar must not have mapped
     }},
    {"AFifoIsOffered", harmless(),
     [](Attack& a) {
       const TempDir dir;
       CHECK(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
       const base::Fd fd(::open((dir / "fifo").c_str(), O_RDWR | O_CLOEXEC));
       hello_with(a, {fd.get()});
     }},
    {"ADeviceIsOffered", harmless(),
     [](Attack& a) {
       const base::Fd fd(::open("/dev/zero", O_RDWR | O_CLOEXEC));
       hello_with(a, {fd.get()});
     }},
    {"ADirectoryIsOffered", harmless(),
     [](Attack& a) {
       const base::Fd fd(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
       hello_with(a, {fd.get(), fd.get(), fd.get()});
     }},
    {"AHugeSparseFileIsOffered", harmless(),
     [](Attack& a) {
       const base::Fd fd(::memfd_create("sparse", MFD_CLOEXEC));
       CHECK(::ftruncate(fd.get(), off_t{1} << 40) == 0);
       hello_with(a, {fd.get(), fd.get()});
     }},
    {"AsManyDescriptorsAsAMessageCarries", harmless(),
     [](Attack& a) {
       const base::Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
       hello_with(a, std::vector<int>(kScmMax, fd.get()));
     }},
    {"DescriptorsWithAHelloThatIsNone", refused(Code::kInvalid),
     [](Attack& a) {
       const base::Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
       const std::vector<int> fds(kScmMax, fd.get());
       const base::Fd socket = dial(a.stage.path());
       CHECK(say(socket.get(), "x", 1, fds));
       a.note_refusal(socket.get());
     }},

    {"MoreConnectionsThanThereMayBe", refused(Code::kBusy),
     [](Attack& a) {
       std::vector<std::unique_ptr<RawClient>> others;
       for (std::uint32_t i = 1; i < a.stage.config().transport.connections_max; ++i) {
         others.push_back(std::make_unique<RawClient>(a.stage.path()));
       }
       for (int i = 0; i < 10; ++i) say_hello_of(a, {});
       CHECK(a.stage.neighbour().served());
     }},
    {"AUserWhoIsNotOnTheList", refused(Code::kDenied),
     [](Attack& a) {
       // Once in silence, and once as the client library does it: it must learn the reason, too.
       if (::geteuid() != 0) {
         a.skipped = "only root can become another user";
         return;
       }
       // The folder of the test lets nobody pass to the socket: it must, to be refused there.
       CHECK(::chmod(a.stage.path().substr(0, a.stage.path().rfind('/')).c_str(), 0755) == 0);
       for (const bool library : {false, true}) {
         const pid_t child = ::fork();
         if (child == 0) {
           constexpr uid_t kNobody = 65534;
           if (::setgroups(0, nullptr) != 0 || ::setresgid(kNobody, kNobody, kNobody) != 0 ||
               ::setresuid(kNobody, kNobody, kNobody) != 0) {
             ::_exit(99);
           }
           if (library) {
             const auto greeting = shm::greet(a.stage.path(), {}, base::now_ns() + kPatience);
             ::_exit(greeting ? 97 : static_cast<int>(greeting.error().code));
           }
           const base::Fd socket = dial(a.stage.path());
           const std::optional<Heard> heard = socket ? hear(socket.get()) : std::nullopt;
           ::_exit(heard ? heard->welcome.code : 98);
         }
         int status = 0;
         CHECK(::waitpid(child, &status, 0) == child && WIFEXITED(status));
         a.refusals.push_back(static_cast<Code>(WEXITSTATUS(status)));
       }
     }},
};

}  // namespace

std::span<const Scenario> handshake_scenarios() { return kScenarios; }

}  // namespace nacelle::testing

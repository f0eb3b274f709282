// How a client and the sidecar meet: one message each way over a Unix SOCK_SEQPACKET socket.
//
//   client   Hello                           -> sidecar
//   sidecar  Welcome + {A, B, doorbell} fds  -> client      or Welcome with a code and the reason
//
// With kFeatureCache two more descriptors: C, the cache region, and this connection's touch page.
//
// After that the socket carries nothing; it stays open because its hang-up is how each side learns
// of the other's death.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "shm/carry.h"
#include "shm/layout.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"
#include "sidecar/base/time.h"

namespace nacelle::shm {

inline constexpr std::uint32_t kHelloMagic = 0x484C434E;    // "NCLH"
inline constexpr std::uint32_t kWelcomeMagic = 0x574C434E;  // "NCLW"

// Client to sidecar. Newer clients may send more bytes; the first 96 keep this meaning.
struct Hello {
  std::uint32_t magic = kHelloMagic;
  std::uint16_t version_major = kVersionMajor;
  std::uint16_t version_minor = kVersionMinor;
  std::uint64_t features = 0;  // bits the client wants: kFeatureCarry, kFeatureCache
  std::uint8_t reserved[16] = {};
  char name[64] = {};  // for people; padded with 0
};
static_assert(sizeof(Hello) == 96);

// Sidecar to client. With kOk three descriptors come along: A, B, and the doorbell eventfd; with
// kFeatureCache two more.
struct Welcome {
  std::uint32_t magic = kWelcomeMagic;
  std::uint16_t version_major = kVersionMajor;
  std::uint16_t version_minor = kVersionMinor;
  std::uint64_t features = 0;  // of these, what it gets
  std::uint16_t code = 0;      // base::Code; not 0: refused, `message` says why
  std::uint16_t reserved0[3] = {};
  std::uint64_t request_region_size = 0;  // bytes of A
  std::uint64_t reply_region_size = 0;    // bytes of B
  std::uint8_t reserved1[24] = {};
  char message[256] = {};  // UTF-8, padded with 0
};
static_assert(sizeof(Welcome) == 320);

// A bit of Hello::features: the client can read a cache region; and of Welcome::features: it has
// one. Not together with kFeatureCarry.
inline constexpr std::uint64_t kFeatureCache = 2;

inline constexpr std::size_t kWelcomeFds = 3;
inline constexpr std::size_t kWelcomeFdsMax = 5;  // with kFeatureCache
inline constexpr std::size_t kMessageMax = 512;   // bytes read of any handshake message

// The kernel's word for who is on the other side. The pid is 0 when it lives in another pid
// namespace: it is for people to read, never for decisions.
struct Peer {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
};

// A listening socket at `path`. It is bound to a temporary name and renamed over the old one, so a
// client finds either the old socket or the new one. The file is removed by the destructor, unless
// another process has put its own there since.
class Listener {
 public:
  static base::Result<Listener> listen(const std::string& path);
  Listener(Listener&&) = default;
  Listener& operator=(Listener&&) = default;
  ~Listener();

  [[nodiscard]] int fd() const { return fd_.get(); }
  // The next client's socket, or an empty Fd when none waits. Non-blocking.
  [[nodiscard]] base::Fd accept() const;

 private:
  Listener() = default;
  base::Fd fd_;
  std::string path_;
  ino_t inode_ = 0;
};

// The sidecar's side. read_hello: nothing yet, an error when the message is not a Hello (kInvalid),
// is of another version (kVersionMismatch) or the peer hung up (kSidecarGone).
base::Result<Peer> peer_of(int socket);
// A pidfd of the process that connected: readable once all its threads have ended, although a child
// of it may still hold the socket. Empty where the kernel has none to give (before Linux 6.5): then
// the socket's hang-up is all there is.
base::Fd process_of(int socket);
base::Result<std::optional<Hello>> read_hello(int socket);
base::Status send_welcome(int socket, const Welcome& welcome, std::span<const int> fds);
// Tells the client why not; best effort, since it is about to be disconnected anyway.
void send_refusal(int socket, const base::Error& error);

// The client's side: connects, sends `hello` and waits for the answer until `deadline`
// (CLOCK_MONOTONIC). A refusal comes back as the error that the sidecar sent.
struct Greeting {
  base::Fd socket;
  Welcome welcome;
  // A, B, doorbell; then C and the touch page, if there are. None with kFeatureCarry.
  std::array<base::Fd, kWelcomeFdsMax> fds;
};
base::Result<Greeting> greet(const std::string& path, const Hello& hello, base::Nanos deadline);
// The second half of it: the answer that has come on `socket`; `path` is for messages.
base::Result<Greeting> read_welcome(base::Fd socket, const std::string& path);

// Whether the other side has hung up. Never blocks.
bool hung_up(int socket);

}  // namespace nacelle::shm

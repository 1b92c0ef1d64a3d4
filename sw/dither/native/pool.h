// Threads that share the work of an instruction. What they compute does not depend on their number:
// no two of them write the same word, and what they count adds up.
#pragma once
#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

class Pool {
  public:
    const int size;

    explicit Pool(int size) : size(size) {}
    ~Pool();
    // Calls work(number) for the numbers below size, each in a thread of its own.
    void run(const std::function<void(int)> &work);

  private:
    void serve(int number, unsigned done);

    std::vector<std::thread> threads_;
    pid_t process_ = 0;  // that the threads belong to: a copy of a process has none
    const std::function<void(int)> *work_ = nullptr;
    std::atomic<unsigned> round_{0};  // of work
    std::atomic<int> busy_{0};
    std::atomic<bool> ending_{false};
    std::mutex mutex_;
    std::condition_variable begin_;
    int asleep_ = 0;
};

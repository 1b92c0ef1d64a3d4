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
    // Calls work(thread, part) once for each part from 0 to parts - 1. Whichever thread is free takes
    // the next one; the caller takes part, so nobody waits for a thread that has not begun.
    void run(int parts, const std::function<void(int, int)> &work);

  private:
    void start();
    void serve(int number, unsigned done);
    void take_parts(int number);

    std::vector<std::thread> threads_;
    pid_t process_ = 0;  // that the threads belong to: a copy of a process has none
    const std::function<void(int, int)> *work_ = nullptr;
    int parts_ = 0;
    std::atomic<int> next_{0};        // part
    std::atomic<unsigned> round_{0};  // of work
    std::atomic<bool> open_{false};   // whether there may be parts left
    std::atomic<int> busy_{0};        // threads that look for parts, besides the caller
    std::atomic<bool> ending_{false};
    std::mutex mutex_;
    std::condition_variable begin_;
    int asleep_ = 0;
};

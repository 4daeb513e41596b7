// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// shim.cc - the one C++ file of the benchmarks: shim.h over Google Benchmark

#include "shim.h"

#include <benchmark/benchmark.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

namespace {

constexpr int realtime_priority = 10;

std::atomic<unsigned int> nr_failed;
unsigned int oversubscribe = 1;
bool realtime_wanted = true;
bool realtime;

// Taken before anything is pinned: a thread starts with the affinity of the one that made it.
const std::vector<int> &cpus()
{
	static const std::vector<int> list = [] {
		std::vector<int> v;
		cpu_set_t set;

		CPU_ZERO(&set);
		sched_getaffinity(0, sizeof(set), &set);
		for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET(cpu, &set))
				v.push_back(cpu);
		return v;
	}();

	return list;
}

// Of this thread. What was started at a real-time priority keeps that.
bool set_realtime(bool on)
{
	sched_param param = {};

	if (on && (sched_getscheduler(0) == SCHED_FIFO || sched_getscheduler(0) == SCHED_RR))
		return true;
	param.sched_priority = on ? realtime_priority : 0;
	return pthread_setschedparam(pthread_self(), on ? SCHED_FIFO : SCHED_OTHER, &param) == 0;
}

uint64_t now_ns()
{
	timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return static_cast<uint64_t>(t.tv_sec) * 1000000000U + static_cast<uint64_t>(t.tv_nsec);
}

// Spins, so that all threads leave it at about the same time; yields should CPUs be short.
class barrier {
public:
	explicit barrier(unsigned int nr) : nr_(nr) {}

	void wait()
	{
		const unsigned int round = round_.load(std::memory_order_relaxed);

		if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == nr_) {
			arrived_.store(0, std::memory_order_relaxed);
			round_.store(round + 1, std::memory_order_release);
			return;
		}
		unsigned int spins = 0;
		while (round_.load(std::memory_order_acquire) == round)
			if (++spins % 1024 == 0)
				sched_yield();
	}

private:
	const unsigned int nr_;
	alignas(64) std::atomic<unsigned int> arrived_{0};
	alignas(64) std::atomic<unsigned int> round_{0};
};

// What a thread leaves for the one that sums up, behind Google Benchmark's stop barrier.
struct alignas(64) slot {
	uint64_t ns;
	uint64_t timed;		// events
	uint64_t events;
	uint64_t wrong;
};

class measurement {
public:
	explicit measurement(const bench &b) : bench_(b) {}

	void operator()(benchmark::State &state)
	{
		const unsigned int index = static_cast<unsigned int>(state.thread_index());
		const unsigned int nr = static_cast<unsigned int>(state.threads());
		bench_thread thread = {index, nr, 0, 0, 0};
		const bool pinned = pin(index);
		uint64_t ns = 0, warm = 0;
		bool cold = true;

		// Set whatever is wanted: thread 0 is the one of the benchmark before, and was
		// perhaps started so.
		if (oversubscribed(nr) || realtime)
			set_realtime(realtime && !oversubscribed(nr));
		if (index == 0) {
			instance_ = bench_.setup(&bench_, nr);
			barrier_ = std::make_unique<barrier>(nr);
			slots_.assign(nr, slot());
		}
		// Everybody waits for all in the first KeepRunning(): behind it setup is done.
		while (state.KeepRunning()) {
			if (!instance_)
				continue;
			if (cold) {
				cold = false;
				if (bench_.begin)
					bench_.begin(instance_, index);
				round(&thread);
				warm = thread.events;
			}
			ns += round(&thread);
			slots_[index] = {ns, thread.events - warm, thread.events,
					 thread.wrong + (pinned ? 0 : 1)};
		}
		// And again in the last. Behind it a thread may still be in its end().
		if (bench_.end && instance_) {
			if (!cold)
				bench_.end(instance_, index);
			barrier_->wait();
		}
		if (index == 0)
			finish(state);
	}

private:
	static bool pin(unsigned int index)
	{
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(cpus()[index % cpus().size()], &set);
		return pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0;
	}

	static bool oversubscribed(unsigned int nr)
	{
		return nr > cpus().size();
	}

	uint64_t round(bench_thread *thread)
	{
		const uint64_t excluded = thread->excluded_ns, start = now_ns();

		bench_.run(instance_, thread);
		const uint64_t ns = now_ns() - start - (thread->excluded_ns - excluded);

		if (bench_.between) {
			barrier_->wait();
			if (thread->index == 0)
				bench_.between(instance_);
			barrier_->wait();
		}
		return ns;
	}

	void finish(benchmark::State &state)
	{
		bench_result result = {};
		const char *error = nullptr;
		uint64_t wrong = 0;
		const slot *slowest = &slots_[0];

		if (!instance_) {
			fail(state, "setup failed: not enough memory, or a file or a peer that cannot be used");
			return;
		}
		for (const slot &s : slots_) {
			result.events += s.events;
			wrong += s.wrong;
			if (s.ns > slowest->ns)
				slowest = &s;
		}
		error = bench_.teardown(instance_, &result);
		instance_ = nullptr;
		if (!error && wrong)
			error = "wrong results in the timed loop, or a thread could not be pinned";
		if (!error && !slowest->timed)
			error = "no events";
		if (error) {
			fail(state, error);
			return;
		}
		// The other threads set none: Google Benchmark's sum of all threads is this.
		state.counters["ns_event"] =
			static_cast<double>(slowest->ns) / static_cast<double>(slowest->timed);
		if (oversubscribed(static_cast<unsigned int>(state.threads()))) {
			state.SetLabel("oversubscribed");
			state.counters["oversubscribed"] = 1;
		}
		for (unsigned int i = 0; i < result.nr_counters; i++)
			state.counters[result.counter[i].name] = result.counter[i].value;
	}

	static void fail(benchmark::State &state, const char *error)
	{
		nr_failed++;
		state.SkipWithError(error);
	}

	const bench bench_;
	void *instance_ = nullptr;
	std::unique_ptr<barrier> barrier_;
	std::vector<slot> slots_;
};

} // namespace

void bench_oversubscribe(unsigned int factor)
{
	oversubscribe = factor;
}

unsigned int bench_threads_per_cpu(unsigned int nr_threads)
{
	const unsigned int nr_cpus = static_cast<unsigned int>(cpus().size());

	return (nr_threads + nr_cpus - 1) / nr_cpus;
}

void bench_normal_priority()
{
	realtime_wanted = false;
}

void bench_context(const char *key, const char *value)
{
	benchmark::AddCustomContext(key, value);
}

void bench_register(const bench *b)
{
	const unsigned int nr_cpus = static_cast<unsigned int>(cpus().size());
	const unsigned int most = b->max_threads ? std::min(b->max_threads, nr_cpus) : nr_cpus;
	const auto m = std::make_shared<measurement>(*b);
	auto *r = benchmark::RegisterBenchmark(
		b->name, [m](benchmark::State &state) { (*m)(state); });

	if (b->nr_args) {
		std::vector<std::string> names;
		std::vector<int64_t> values;

		for (unsigned int i = 0; i < b->nr_args; i++) {
			names.push_back(b->arg[i].name);
			values.push_back(b->arg[i].value);
		}
		r->ArgNames(names)->Args(values);
	}
	for (unsigned int nr = 1; nr < most; nr *= 2)
		r->Threads(static_cast<int>(nr));
	r->Threads(static_cast<int>(most));
	for (unsigned int nr = 2; nr <= oversubscribe && !b->max_threads; nr *= 2)
		r->Threads(static_cast<int>(nr * nr_cpus));
}

void bench_counter(bench_result *result, const char *name, double value)
{
	if (result->nr_counters == BENCH_MAX_COUNTERS)
		return;
	result->counter[result->nr_counters].name = name;
	result->counter[result->nr_counters].value = value;
	result->nr_counters++;
}

int bench_main(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	realtime = realtime_wanted && set_realtime(true);
	if (!realtime)
		set_realtime(false);
	bench_context("realtime", realtime ? "yes" : realtime_wanted ? "no, not permitted"
								     : "no, not wanted");
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 1;
	benchmark::RunSpecifiedBenchmarks();
	benchmark::Shutdown();
	return nr_failed ? 1 : 0;
}

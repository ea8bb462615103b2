"""One module for each contestant: its tasks, how jobs are handed to it, and the commands that run its workers.

Such a module is imported in the contestant's own virtual environment, by its workers and by ``bench.steward``; of this
repository it may import ``bench.bodies`` and ``bench.places`` only. It defines

    DISTRIBUTIONS   the packages whose versions count
    RECORD          what it keeps of a job, durably or not
    SETTINGS        what was set for speed, and on whose advice
    ROUGH_RATE      no-op jobs per second, for the size of the first run

    prepare()                   make what it needs in an empty database and broker
    enqueue(task, arguments)    hand over a job of that task (noop, sleep, compute, wait) for each of the arguments
    finished()                  how many jobs it has recorded as finished; None if it records none
    workers(workload)           the commands to run, two processes for tasks in all

A workload is ``short`` (tasks of a few milliseconds), ``long`` (longer ones), ``mixed`` (both in one queue), or
``waiting`` (coroutines that wait). It says how many jobs to take ahead; tasks that block run one at a time in each
process.
"""

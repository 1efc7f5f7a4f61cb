"""The benchmarks of `nox -s bench`: the helper beside what it cannot be faster than."""

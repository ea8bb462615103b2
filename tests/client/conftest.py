"""The API that the client is tested against."""

from apis import api_url, memory, stage

__all__ = ["api_url", "memory", "stage"]

from dataclasses import dataclass
def masked_sum(*a): raise NotImplementedError

"""Lists compared with the register of insured persons every month: gather, ask, plan, brake, apply."""

"""What gateware and simulator share: finding tools, running them, keeping what they made."""
